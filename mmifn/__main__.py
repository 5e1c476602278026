"""`python -m mmifn`: the command `mmifn`."""

from __future__ import annotations

import sys

from mmifn.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
