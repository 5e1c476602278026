"""User mistakes end in one message and exit code 2; programming mistakes keep their traceback."""

import errno
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mmifn.core.errors import ROOTED, ArtefactError, UserError, listed, out_of_memory, user_main, with_root


def raising(error):
    @user_main
    def main(argv=None):
        if isinstance(error, BaseException):
            raise error
        return error

    return main


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("a.csv lacks the column MOS"), 2, "error: a.csv lacks the column MOS\n"),
        (ArtefactError("cache gone"), 2, "error: cache gone\n"),
        (OSError(errno.ENOSPC, "no", "out.pt"), 2, "out.pt: No space left on device"),
        (PermissionError(errno.EACCES, "no", "x"), 2, "x: Permission denied"),
        (KeyboardInterrupt(), 130, "run the same command again"),
        (ModuleNotFoundError("No module named 'timm'", name="timm"), 2, "pip install 'mmifn[stages]'"),
        (MemoryError("Unable to allocate 3 GiB"), 2, "memory is short (MemoryError: Unable to allocate 3 GiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), 2, "memory is short"),
        (UserError("a\x1b[2J\r\x07\udcff.jpg is bad\n  b"), 2, "error: a\\x1b[2J\\r\\x07\\xff.jpg is bad\n  b\n"),
    ],
)
def test_a_mistake_is_one_message_and_a_code(error, code, words, capsys):
    assert raising(error)([]) == code
    out, err = capsys.readouterr()
    assert words in err and "Traceback" not in err and not out


def test_success_passes_its_code_through():
    assert raising(0)() == 0
    assert raising(7)([]) == 7


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), OSError("without errno or file")])
def test_bugs_keep_their_traceback(error):
    with pytest.raises(type(error)):
        raising(error)([])


def test_long_lists_are_cut_and_counted():
    assert listed(["a", 2]) == "  a\n  2"
    rows = listed(range(23)).split("\n")
    assert len(rows) == 21 and rows[19] == "  19" and rows[20] == "  … and 3 more"
    assert listed(range(20)).count("\n") == 19


def test_commands_in_messages_repeat_the_root(capsys):
    message = "Make them: python generate_text.py --dataset A\nor python predict.py X, python train.py --root r"
    wanted = message.replace("text.py --d", "text.py --root 'my work' --d")
    assert with_root(message, ["--dataset", "A", "--root", "my work"]) == wanted
    assert with_root(message, ["--root=my work"]) == wanted
    assert with_root(message, ["--dataset", "A"]) == message
    assert raising(UserError(message))(["--root", "my work"]) == 2
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("script", ROOTED)
def test_scripts_that_are_given_the_root_take_it(script):
    text = (Path(__file__).parents[2] / f"{script}.py").read_text(encoding="utf-8")
    assert any(word in text for word in ("add_root_argument", "training_parser", "experiment_parser", "run_branch_script"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_stop_while_modules_are_imported_is_one_line(tmp_path, number, code):
    """Before main has begun, as when torch is being imported. A shell calls the first 130."""
    (tmp_path / "slow.py").write_text(f"import os, time\nos.kill(os.getpid(), {number})\ntime.sleep(60)")
    root = str(Path(__file__).resolve().parents[2])
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job is deaf to it
    done = subprocess.run([sys.executable, "-c", "import mmifn.cli.flags, slow"], capture_output=True, text=True, check=False,
                          preexec_fn=heard, env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"})
    assert done.returncode == code and done.stderr.count("run the same command again") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_while_main_imports_what_computes_is_one_line(tmp_path, number, code):
    (tmp_path / "slow.py").write_text(f"import os, time\nos.kill(os.getpid(), {number})\ntime.sleep(60)")
    main = "import sys\nfrom mmifn.core.errors import user_main\n@user_main\ndef main():\n    import slow\nsys.exit(main())"
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", main], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"})
    assert done.returncode == code and done.stderr.count("run the same command again") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize(("error", "short"), [
    (MemoryError(), True), (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
    (RuntimeError("unable to mmap 9 bytes from file <w>: Cannot allocate memory (12)"), True),
    (ImportError("libfoo.so: failed to map segment from shared object"), True),
    (RuntimeError("could not create a primitive"), True), (RuntimeError("could not execute a primitive"), True),
    (RuntimeError("could not create a primitive descriptor for the matmul primitive"), False),
    (RuntimeError("could not create a memory object"), True), (RuntimeError("can't start new thread"), True),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False), (ImportError("libfoo.so: no such file"), False)])
def test_what_libraries_say_where_memory_is_short(error, short):
    assert out_of_memory(error) is short
