"""User mistakes: one clear message on stderr, exit code 2, no traceback."""

from __future__ import annotations

import functools
import itertools
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mmifn.core.stopping import STOPPING, Stopped, answered_signals
from mmifn.core.streams import READER_GONE, make_usable, reader_gone
from mmifn.core.text import printable


class UserError(ValueError):
    """Something a user can mend; the message says what, where, found, wanted and the next step."""


class ArtefactError(UserError):
    """A cache, checkpoint or result file that is missing, damaged or made for something else."""


class UnpicklingRefused(ArtefactError):
    """A weights file that could only be read by running the code pickled inside it."""


MAX_LISTED = 20
# Scripts that work in a workspace: a command that a message names works in that of the run that failed.
ROOTED = ("prepare_dataset", "simulate_dataset", "generate_text", "text_encoder", "viewport_encoder", "global_feature_extractor",
          "gff_module", "lff_module", "train", "evaluate", "cross_eval", "ablation_study", "run_pipeline",
          "tools/full_reference", "tools/make_report", "tools/merge_databases")
# Packages that scoring does without, by the name of their import: the extra "stages" of pyproject.toml brings them.
FOR_STAGES = frozenset({"httpx2", "onnx", "pandas", "piq", "sklearn", "timm", "torchvision", "transformers", "yaml"})
_LAYOUT = "\n\t"  # of our own messages
_NO_MEMORY = re.compile(r"out of memory|not enough memory|can(?:no|')t allocate memory|insufficient memory"
                        r"|failed to map segment|can't start new thread"  # of the loader, of Python
                        r"|could not (?:create|execute) a primitive(?! desc)|could not create a memory object",  # of oneDNN
                        re.IGNORECASE)
_COMMAND = re.compile(rf"(python (?:{'|'.join(ROOTED)})\.py)(?! --root)")


def listed(items: Iterable[object], limit: int = MAX_LISTED) -> str:
    """Join items one per line, indented, and count those beyond `limit`."""
    rows = [f"  {item}" for item in items]
    if len(rows) > limit:
        rows = [*rows[:limit], f"  … and {len(rows) - limit} more"]
    return "\n".join(rows)


def first_line(error: BaseException) -> str:
    """Return an error of another library in one short line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def with_root(message: str, argv: Sequence[str]) -> str:
    """Repeat the --root of a command line in every command that a message names, so that it can be pasted as it stands."""
    given = [value for flag, value in itertools.pairwise(argv) if flag == "--root"]
    given += [flag.removeprefix("--root=") for flag in argv if flag.startswith("--root=")]
    return _COMMAND.sub(lambda match: f"{match[1]} --root {shlex.quote(given[-1])}", message) if given else message


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of whatever library means that memory was short."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def fault_of_image(path: Path, error: Exception) -> str:
    """Return what is wrong, fit to be shown, where an image is to blame for an error or memory is short; "" for others."""
    if isinstance(error, UserError):
        return printable(str(error), keep="\n")
    if isinstance(error, PermissionError):  # unless it is of the place where results go
        mine = error.filename is not None and Path(error.filename) == path
        return printable(f"{path} may not be read; give yourself the permission") if mine else ""
    if not out_of_memory(error):
        return ""
    return printable(f"{path} does not fit into memory; use fewer --workers, or refuse such images with a lower --max-megapixels")


def user_main(main: Callable[..., int]) -> Callable[..., int]:
    """Wrap a script's `main`: UserError, a full disk and a package that is not there become a message and exit code 2, Ctrl-C
    130, SIGTERM 143, and 141 where nobody reads what it prints any more."""

    @functools.wraps(main)
    def wrapped(*args: object) -> int:
        make_usable()
        try:
            with answered_signals():
                return main(*args)
        except UserError as error:
            argv = next((arg for arg in args if isinstance(arg, list)), sys.argv[1:])
            _complain(with_root(str(error), argv))
            return 2
        except OSError as error:
            if error.filename is None and error.errno is None:
                raise
            return _refused_by_system(error)
        except ModuleNotFoundError as error:
            if error.name not in FOR_STAGES:
                raise
            _complain(f"this needs the package {error.name}, which is not installed: pip install 'mmifn[stages]' (in a "
                      "checkout: bash env.sh)")
            return 2
        except Stopped as stopped:
            return stopped.code
        except KeyboardInterrupt:
            print(STOPPING, file=sys.stderr)
            return 130
        except Exception as error:
            if not out_of_memory(error):
                raise
            _complain(f"memory is short ({first_line(error)}). Nothing was half-written; close other programs or use fewer "
                      "--workers, where there are any, and run the same command again.")
            return 2

    return wrapped


def _refused_by_system(error: OSError) -> int:
    """Say what the system refused, and return the exit code."""
    if isinstance(error, BrokenPipeError) and reader_gone():
        return READER_GONE
    place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    _complain(f"{place}{os.strerror(error.errno) if error.errno else error}. "
              "Nothing was half-written; mend it and run the same command again.")
    return 2


def _complain(message: str) -> None:
    print(f"error: {printable(message, keep=_LAYOUT)}", file=sys.stderr)
