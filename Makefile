# Shorthands; env.sh sets up the environment that they need.
.PHONY: check test audit
check:
	bash env.sh check
test:
	bash env.sh test
# Known weaknesses of the pinned packages; needs a network.
audit:
	bash env.sh python -m pip install --quiet pip-audit
	bash env.sh pip-audit --strict --skip-editable --desc
