"""Stage 5 of 10: fit GFF, the fusion of text and global features, and cache what it makes of every image.

Fits the branch, with a small scoring head of its own, on the training scenes of one split; stops on its validation
scenes; fuses all images with the result.

Reads   datasets/<DS>/des.csv, features/<DS>/{text,viewport,global}_features.pt
Writes  features/<DS>/global_fusion_features.pt   (FusedFeatures: features, weights, split)
"""

from __future__ import annotations

import sys

from mmifn.cli.experiments import run_branch_script


def main(argv: list[str] | None = None) -> int:
    return run_branch_script("gff", __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
