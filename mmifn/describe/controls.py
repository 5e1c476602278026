"""A control for the question what the words are worth: descriptions given to the wrong images.

If shuffled texts do as well as true ones, the text branch is not used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmifn.core.errors import UserError


def shuffled(descriptions: Mapping[str, str], seed: int) -> dict[str, str]:
    """Give every image the description of another one; the names keep their order.

    A random cycle through all images (Sattolo 1986), so no image keeps its own. The result depends on the names and the
    seed, not on their order. Raises UserError for fewer than two images.
    """
    names = sorted(descriptions)
    if len(names) < 2:
        raise UserError(f"descriptions of {len(names)} image(s) cannot be shuffled; at least 2 are needed")
    rng, target = np.random.default_rng(seed), list(range(len(names)))
    for i in range(len(names) - 1, 0, -1):
        j = int(rng.integers(i))
        target[i], target[j] = target[j], target[i]
    given = {name: descriptions[names[target[i]]] for i, name in enumerate(names)}
    return {name: given[name] for name in descriptions}
