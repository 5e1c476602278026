"""Flags, and what scripts share. Every script and command imports this package before anything that computes."""

import os

from mmifn.core.stopping import stop_quietly

# OpenMP's threads spin while they wait, and take the core that others on this machine need; it reads this when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
stop_quietly()  # torch takes seconds to import
