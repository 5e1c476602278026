"""Presets: which frozen networks describe a panorama. Only the encoder scripts know them.

Every stage after the encoders takes its dimensions from the caches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mmifn.core.defaults import HEADSET_PPD
from mmifn.core.errors import UserError

MIN_SIZE_PX = 32
HEADSET_LIMITS = (5, 60)  # pixels per degree; 60 is what a good eye resolves
COARSEST_STRIDE = 32  # of the last maps of both ERP encoders


@dataclass(frozen=True)
class Preset:
    """One coherent choice of networks and input sizes.

    description: source of the words (depictqa, vlm, measured); text, viewport, global_: encoder names;
    fovs_deg, sizes_px, sampler: the tangent views: in each direction one of every field of view, the widest first, and how
    many pixels wide each is;
    with_size: whether every view also carries the panorama's own resolution (encode.size_of);
    with_people: and what the encoder taught by people says of the widest view (encoders/people.py);
    with_steps: and the steps between lenses that are near it (encoders/lens_steps.py);
    erp_height_px: height of the ERP that the global encoder sees; grid: rows and columns to which its maps are pooled;
    wrap_px: how far the ERP is continued across its seam for it; headset_ppd: pixels per degree that observers are shown.
    """

    description: str
    text: str
    viewport: str
    global_: str
    fovs_deg: tuple[float, ...]
    sizes_px: tuple[int, ...]
    sampler: str = "dodecahedron-20"
    erp_height_px: int = 512
    grid: tuple[int, int] = (4, 8)
    wrap_px: int = 0
    with_size: bool = False
    with_people: bool = False
    with_steps: bool = False
    headset_ppd: float = HEADSET_PPD

    def __post_init__(self) -> None:
        for fov_deg in self.fovs_deg:
            if not 0 < fov_deg < 180:
                raise UserError(f"--fov-deg must lie between 0 and 180, got {fov_deg:g}")
        if list(self.fovs_deg) != sorted(set(self.fovs_deg), reverse=True):
            given = " ".join(f"{fov_deg:g}" for fov_deg in self.fovs_deg)
            raise UserError(f"--fov-deg {given}: wanted fields of view that differ, the widest first")
        if min(self.sizes_px) < MIN_SIZE_PX:
            raise UserError(f"--size-px must be at least {MIN_SIZE_PX}, got {min(self.sizes_px)}")
        if len(self.sizes_px) != len(self.fovs_deg):
            raise UserError(f"{len(self.fovs_deg)} fields of view and {len(self.sizes_px)} sizes were given; wanted as many "
                            "numbers after --size-px as after --fov-deg")
        lowest = COARSEST_STRIDE * self.grid[0]
        if self.erp_height_px < lowest:
            raise UserError(f"--erp-height-px must be at least {lowest} ({self.grid[0]} rows of cells at stride "
                            f"{COARSEST_STRIDE}), got {self.erp_height_px}")

    @property
    def fov_deg(self) -> float:
        """The widest field of view: what a viewport's score speaks of."""
        return self.fovs_deg[0]


_OFFLINE = Preset("measured", "minilm", "vit_nano", "vmamba_nano", fovs_deg=(40.0, 14.8), sizes_px=(224, 160),
                  with_people=True, with_steps=True)

PRESETS: dict[str, Preset] = {
    "paper": Preset("depictqa", "google-bert/bert-base-uncased", "vit_base_patch16_224.augreg_in21k",
                    "vmamba_tiny_s1l8", fovs_deg=(90.0,), sizes_px=(224,)),
    # 40° at 224 px is 5.4 px per degree, about a 2048 px wide ERP's own; 14.8° at 160 px 10.7, about that of 4096 px, which is
    # what people's headsets showed. The two together tell how large a panorama is: being told beside that gains nothing, and a
    # small one that was enlarged would count as large (docs/experiments.md).
    # The networks were adapted at the resolution of the views; of the ERP the other sees half of it, which is a scale of its own.
    # What people mind in photographs, and what no view can show (lenses of unlike light, colour or sharpness), comes beside.
    "offline": _OFFLINE,
    # Both branches with the network that taught those two: what shipped before them.
    "offline-lite0": replace(_OFFLINE, viewport="lite0_adapted", global_="lite0_adapted"),
}


def at_resolution(preset: Preset, headset_ppd: float) -> Preset:
    """Return a preset that looks at panoramas as through a headset of so many pixels per degree.

    The pixels of a finer headset are taken to be as visible as those of the one that people judged in: its views show as
    many pixels in a narrower angle, and a panorama counts as smaller by as much. Nobody's opinions stand behind that.
    """
    low, high = HEADSET_LIMITS
    if not low <= headset_ppd <= high:
        raise UserError(f"--pixels-per-degree must lie between {low} and {high}, got {headset_ppd:g}")
    if headset_ppd == preset.headset_ppd:
        return preset
    finer = headset_ppd / preset.headset_ppd
    fovs = tuple(math.degrees(2 * math.atan(math.tan(math.radians(fov_deg / 2)) / finer)) for fov_deg in preset.fovs_deg)
    return replace(preset, fovs_deg=fovs, headset_ppd=headset_ppd)


def choose(preset: str, **overrides: object) -> Preset:
    """Return a preset with every override that is not None put in its place."""
    return replace(PRESETS[preset], **{key: value for key, value in overrides.items() if value is not None})
