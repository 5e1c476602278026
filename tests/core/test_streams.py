"""Standard streams that are closed, narrow or read by nobody: what a script prints never ends it with a traceback."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmifn.core.errors import user_main

SCRIPT = """
import sys
from mmifn.core.errors import user_main
from mmifn.core.streams import json_line

@user_main
def main():
    print("20 °", "größer", flush=True)
    print("worse …", file=sys.stderr)
    for i in range(int(sys.argv[1])):
        print(json_line({"image": "图.jpg", "number": i}))
    return 0

sys.exit(main())
"""


def run(lines, shell="{}", **environment):
    command = shell.format(f"'{sys.executable}' -c '{SCRIPT}' {lines}")
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **environment})


@pytest.mark.parametrize(("shell", "out", "err"), [
    ("{} >&-", False, True), ("{} 2>&-", True, False), ("{} >&- 2>&-", False, False), ("{} <&-", True, True)])
def test_closed_streams_swallow_what_is_written(shell, out, err):
    done = run(1, shell)
    assert done.returncode == 0
    assert (done.stdout.count(b"\n"), done.stderr.count(b"\n")) == (2 * out, err)


@pytest.mark.parametrize(("encoding", "words"), [("ascii", b"20 \\xb0 gr\\xf6\\xdfer"), ("latin-1", b"20 \xb0 gr\xf6\xdfer"),
                                                 ("utf-8", "20 ° größer".encode())])
def test_letters_that_an_encoding_lacks_are_escapes_and_json_stays_json(encoding, words):
    done = run(2, PYTHONIOENCODING=encoding)
    first, *rows = done.stdout.splitlines()
    assert (done.returncode, first) == (0, words)
    assert [json.loads(row.decode(encoding)) for row in rows] == [{"image": "图.jpg", "number": i} for i in range(2)]


def test_a_reader_that_is_gone_ends_a_script_in_silence():
    done = run(100_000, "{} | head -1; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stdout) == (141, "20 ° größer\n".encode())
    assert done.stderr == "worse …\n".encode()


def test_a_broken_pipe_to_somewhere_else_is_told(capsys, monkeypatch):
    """As of a server; standard output, which has readers here or is no file at all, is not to blame."""
    @user_main
    def main():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert main() == 2 and "Broken pipe" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main() == 2 and "Broken pipe" in capsys.readouterr().err


def test_a_reader_of_messages_that_is_gone_ends_a_script_too():
    shell = "{{ {} 3>&1 1>&2 2>&3; echo $? >&4; }} 4>&2 2> /dev/null | true"
    done = run(1, shell.replace("{}", "sleep 0.5; {}"))
    assert done.stderr == b"141\n"
