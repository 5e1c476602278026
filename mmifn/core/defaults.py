"""Numbers that flags show and computations use, apart from what computes with them: a --help loads no library for them."""

from __future__ import annotations

MAX_MEGAPIXELS = 300.0  # larger images are refused before they are decoded
# What the headsets show in which people judged OIQA and CVIQ, pixels per degree: a panorama of 4096 px, one of its pixels each.
HEADSET_PPD = 4096 / 360
