"""Controls for the question what the words are worth: descriptions given to the wrong images, and bare labels.

Pure functions. If shuffled texts do as well as true ones, the text branch is not used; if bare distortion names do as
well, the description adds nothing beyond the kind of distortion.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmifn.core.errors import UserError
from mmifn.data.manifest import Manifest

# Names that des.csv files use, in words; any other type is named as it stands.
TYPE_WORDS = {"JPEG": "JPEG compression", "JP2K": "JPEG 2000 compression", "JPEG2000": "JPEG 2000 compression",
              "GN": "Gaussian noise", "GB": "Gaussian blur", "AVC": "H.264 compression", "HEVC": "H.265 compression"}


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


def distortion_only(manifest: Manifest) -> dict[str, str]:
    """Describe every image by nothing but the name of its distortion, read from des.csv (this one is told the label)."""
    return {name: f"The image is degraded by {TYPE_WORDS.get(kind, kind)}."
            for name, kind in zip(manifest.names, manifest.types, strict=True)}
