"""Fit the constants of the measured words on the calibration scenes of a folder of pristine panoramas.

`python benchmarks/describe.py --panoramas DIR` checks the words on all other scenes of the folder.

Reads   --panoramas DIR (manifest.csv beside them gives each scene's location)
Writes  mmifn/describe/measured/calibrated.json, with --local local.json (or --out); --samples FILE: the measurements, one
        JSON object a line
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmifn.cli.flags import command_parser
from mmifn.core.errors import UserError, user_main
from mmifn.core.outputs import check_outputs


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--panoramas", required=True, metavar="DIR", help="folder of pristine panoramas, or 'synthetic'")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="keep the measurements there, and use them again where the "
                        "file exists")
    parser.add_argument("--out", type=Path, metavar="FILE", help="what to write (default: into the package)")
    parser.add_argument("--local", action="store_true", help="fit the judge of parts of the sphere instead (local.json)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.describe.measured import calibration, local
    from mmifn.describe.measured.fitting import fit_constants, gather_samples, split_scenes, write_constants
    from mmifn.describe.measured.fitting_local import fit_local
    from mmifn.simulate.panoramas import find_scenes

    if args.local and args.samples:
        raise UserError("--samples keeps the measurements of whole panoramas; --local has none to keep: leave one of them out")
    args.out = args.out or (local.FILE if args.local else calibration.FILE)
    check_outputs({"--samples": args.samples, "--out": args.out})
    fitting, _ = split_scenes(find_scenes(args.panoramas))
    constants = (fit_local(fitting, args.workers) if args.local
                 else fit_constants(gather_samples(fitting, args.workers, args.samples)))
    write_constants(constants, args.out)
    print(f"{args.out}: fitted on {constants['samples']} pictures of {len(fitting)} scenes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
