"""How much of an encoder is tuned, in the words of a flag; without torch, for parsers."""

from __future__ import annotations

from mmifn.core.errors import UserError

LORA, LAST, ALL = "lora", "last-", "all"
WISHES = f"wanted {LORA}, {LAST}N (the last N blocks, such as {LAST}2), or {ALL}"


def blocks_wished(what: str) -> int | None:
    """Return how many blocks "last-N" names, None for the other ways. Raises UserError for anything else."""
    if what in (LORA, ALL):
        return None
    count = what.removeprefix(LAST)
    if not what.startswith(LAST) or not count.isdecimal() or int(count) < 1:
        raise UserError(f"--tune-encoders {what}: {WISHES}")
    return int(count)
