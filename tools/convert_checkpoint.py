"""Convert a weights file that holds pickled objects to safetensors, which can hold none.

Reads   a torch file with the weights under "model" or "state_dict", or a bare state dict
Writes  the tensors alone, as safetensors

A pickle names functions, and reading it calls them: a forged file could run anything under your account.
Here only what rebuilds tensors is called, and anything else becomes an inert placeholder; even so, convert
only files whose origin you trust, and say so with --allow-unpickling.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.flags import command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.core.outputs import check_outputs


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = command_parser(__doc__)
    parser.add_argument("source", type=Path, help="the torch file to read")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    parser.add_argument("--allow-unpickling", action="store_true", help="you trust where the file came from")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing target")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    """Convert one file."""
    args = build_parser().parse_args(argv)
    from mmifn.core.artefact import save_safetensors
    from mmifn.encoders.state import entry_of, find_state
    from mmifn.encoders.vmamba.unpickling import read_with_placeholders

    if not args.allow_unpickling:
        raise UserError(f"{args.source}: reading pickled objects can run code that came with the file. If "
                        "you trust its origin, repeat the command with --allow-unpickling")
    if args.target.suffix != ".safetensors":
        raise UserError(f"{args.target}: the file to write must end in .safetensors")
    check_outputs({"target": args.target}, [args.source])
    if args.target.exists() and not args.overwrite:
        raise UserError(f"{args.target} exists; add --overwrite to replace it")
    content = read_with_placeholders(args.source)
    state, (taken, others) = find_state(content, args.source), entry_of(content)
    save_safetensors({key: value.clone() for key, value in state.items()}, args.target)
    print(f"{args.target}: {len(state)} tensors, taken from {taken or 'the file itself'}"
          + (f"; left out: {', '.join(others)}" if others else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
