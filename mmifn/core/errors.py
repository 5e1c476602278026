"""User mistakes: one clear message on stderr, exit code 2, no traceback."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable


class UserError(ValueError):
    """Something a user can mend; the message says what, where, found, wanted and the next step."""


class ArtefactError(UserError):
    """A cache, checkpoint or result file that is missing, damaged or made for something else."""


class UnpicklingRefused(ArtefactError):
    """A weights file that could only be read by running the code pickled inside it."""


MAX_LISTED = 20


def listed(items: Iterable[object], limit: int = MAX_LISTED) -> str:
    """Join items one per line, indented, and count those beyond `limit`."""
    rows = [f"  {item}" for item in items]
    if len(rows) > limit:
        rows = [*rows[:limit], f"  … and {len(rows) - limit} more"]
    return "\n".join(rows)


def user_main(main: Callable[..., int]) -> Callable[..., int]:
    """Wrap a script's `main`: UserError and a full disk become a message and exit code 2, Ctrl-C 130."""

    @functools.wraps(main)
    def wrapped(*args: object) -> int:
        try:
            return main(*args)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except OSError as error:
            if error.filename is None and error.errno is None:
                raise
            place = f"{error.filename}: " if error.filename else ""
            print(f"error: {place}{os.strerror(error.errno) if error.errno else error}. "
                  "Nothing was half-written; mend it and run the same command again.", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("stopped; run the same command again to go on", file=sys.stderr)
            return 130

    return wrapped
