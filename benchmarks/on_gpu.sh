#!/usr/bin/env bash
# All that needs a GPU, on a bare machine that has one, in at most ten minutes after the packages are there:
#   bash benchmarks/on_gpu.sh [--out DIR] [--device auto|cuda|cpu] [--minutes 10] [--only STEP …]
# Sets up the environment, runs benchmarks/on_gpu.py, and leaves DIR/on_gpu.json and DIR/on_gpu.html (default: on_gpu/).
# Without a GPU it runs to its end at small sizes and reports the steps that need one as not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
MMIFN_EXTRA="${MMIFN_EXTRA:-dev}"
export HF_HUB_OFFLINE=1 MMIFN_EXTRA
bash env.sh test --version > /dev/null # packages, those of the tests too
exec bash env.sh python benchmarks/on_gpu.py "$@"
