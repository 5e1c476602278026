"""The command `mmifn`: score, map or describe panoramas, and see whether all is well.

  mmifn score PATHS …      how good each panorama is, where, and why
  mmifn map PATHS … --out  the same, and pictures of where each is good and bad
  mmifn describe PATHS …   what is wrong with each, in words, without a score
  mmifn fleet MANIFEST …   score any number of them, on one machine or many, with Ray
  mmifn doctor             versions, device, weights, what each preset still needs, and a test on a built-in panorama

`mmifn COMMAND --help` tells the flags.
"""

from __future__ import annotations

import sys
from types import ModuleType

from mmifn import __version__
from mmifn.cli import describe, doctor, draw_map, fleet, score
from mmifn.cli.flags import command_parser

COMMANDS: dict[str, ModuleType] = {"score": score, "map": draw_map, "describe": describe, "fleet": fleet, "doctor": doctor}


def main(argv: list[str] | None = None) -> int:
    """Run one of COMMANDS with the rest of the command line; return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = command_parser(__doc__)
    parser.prog = "mmifn"
    parser.add_argument("command", choices=list(COMMANDS))
    parser.add_argument("--version", action="version", version=f"mmifn {__version__}")
    name = parser.parse_args(argv[:1]).command
    sys.argv[0] = f"mmifn {name}"  # what the command calls itself in its own usage
    code: int = COMMANDS[name].main(argv[1:])
    return code
