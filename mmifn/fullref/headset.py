"""What observers saw: views at the resolution of a headset, and full-reference metrics of those views.

People judged CVIQ's 4096 px and OIQA's 11,332 to 13,320 px in headsets that show about 11 pixels per degree: there a
panorama of more pixels is low-passed, and one of fewer is enlarged and soft. Panoramas of any size are compared at that
resolution, with the scene as the headset shows it at its best.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before piq, whose torchvision would not import)
from mmifn.core.defaults import HEADSET_PPD
from mmifn.fullref.metrics import gmsd_of_views, ssim_of_views
from mmifn.sphere import dodecahedron, render_viewports

from piq.functional import rgb2yiq  # isort: skip

VIEW_PX = 256
# FSIMc (Zhang et al., IEEE TIP 2011): constants of similarity, and the log-Gabor filters of its phase congruency.
_T_CONGRUENCY, _T_GRADIENT, _T_COLOUR, _COLOUR_POWER = 0.85, 160.0, 200.0, 0.03
_SCALES, _ORIENTATIONS, _SHORTEST_PX, _SIGMA_F, _ANGLE_RATIO = 4, 4, 6, 0.55, 1.2
_NOISE_SDS, _NOISE_SCALE = 2.0, 1.7
_CUTOFF, _ORDER = 0.45, 15


def view_size(ppd: float = HEADSET_PPD) -> int:
    """Return the size in pixels of the views that are compared: VIEW_PX, or what 90 degrees have at a low `ppd`."""
    return min(VIEW_PX, 2 * round(math.degrees(ppd)))


def headset_fov(size_px: int = VIEW_PX, ppd: float = HEADSET_PPD) -> float:
    """Return the angle in degrees, edge to edge, of a tangent view of `size_px` whose centre has `ppd` pixels per degree."""
    return math.degrees(2 * math.atan(size_px / 2 / math.degrees(ppd)))


def headset_views(erp: np.ndarray, centres_deg: Tensor | None = None, size_px: int | None = None,
                  ppd: float = HEADSET_PPD) -> Tensor:
    """Render views as a headset of `ppd` pixels per degree shows them.

    erp: (H, 2H, 3) uint8 of any size; centres_deg: (V, 2) longitude, latitude (default: the 20 of the dodecahedron);
    size_px: of the views (default: view_size(ppd)).
    Returns (V, 3, size_px, size_px) float32 in 0..1: low-passed where the ERP has more pixels, enlarged where it has
    fewer. Views of one scene at different sizes lie over one another.
    """
    centres = dodecahedron() if centres_deg is None else centres_deg
    size_px = size_px or view_size(ppd)
    return render_viewports(erp, centres, headset_fov(size_px, ppd), size_px)


class HeadsetReference:
    """Views of a scene at its best, to compare others with; what FSIM needs of them is worked out once."""

    def __init__(self, views: Tensor) -> None:
        """views: (V, 3, S, S) float32 in 0..1, as headset_views makes them of the largest source."""
        self.views = views
        self._maps: list[tuple[Tensor, ...]] | None = None

    @property
    def maps(self) -> list[tuple[Tensor, ...]]:
        """Return phase congruency, gradient magnitude and the two colour differences of each view."""
        if self._maps is None:
            with torch.inference_mode():
                self._maps = [_feature_maps(view) for view in self.views]
        return self._maps

    def fsim(self, views: Tensor | HeadsetReference) -> Tensor:
        """FSIMc of each view at the headset's own resolution: (V,), higher is better.

        Differs from the reference code: pictures are not averaged down to about 256 px first. That step brings a
        picture on a screen to some 17 pixels per degree; a headset shows fewer as it is.
        """
        other = views if isinstance(views, HeadsetReference) else HeadsetReference(views)
        with torch.inference_mode():
            return torch.stack([_similarity(a, b) for a, b in zip(self.maps, other.maps, strict=True)])

    def gmsd(self, views: Tensor) -> Tensor:
        """GMSD of each view: (V,), lower is better."""
        return gmsd_of_views(self.views, views)

    def ssim(self, views: Tensor) -> Tensor:
        """SSIM of the luma of each view: (V,), higher is better."""
        return ssim_of_views(self.views, views)


def _similarity(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    def alike(first: Tensor, second: Tensor, constant: float) -> Tensor:
        return (2 * first * second + constant) / (first ** 2 + second ** 2 + constant)

    weight = torch.maximum(a[0], b[0])
    shape = alike(a[0], b[0], _T_CONGRUENCY) * alike(a[1], b[1], _T_GRADIENT)
    colour = (alike(a[2], b[2], _T_COLOUR) * alike(a[3], b[3], _T_COLOUR)).abs() ** _COLOUR_POWER
    return (shape * colour * weight).sum() / weight.sum()


def _feature_maps(view: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return phase congruency, gradient magnitude and the two colour differences of a view (3, S, S): (S, S) each."""
    luma, i, q = rgb2yiq(view[None] * 255)[0]
    return _phase_congruency(luma), _gradient(luma), i, q


def _gradient(luma: Tensor) -> Tensor:
    """Return the magnitude of Scharr's gradient, zeros beyond the border."""
    along = luma.new_tensor([[-3.0, 0.0, 3.0], [-10.0, 0.0, 10.0], [-3.0, 0.0, 3.0]]) / 16
    both = torch.nn.functional.conv2d(luma[None, None], torch.stack([along, along.T])[:, None], padding=1)[0]
    return torch.hypot(both[0], both[1])


def _phase_congruency(luma: Tensor) -> Tensor:
    """Return Kovesi's phase congruency (PC2, noise compensated by the median of the finest scale), (S, S) in 0..1."""
    filters, energy_of_finest, noise_gain = _filters(luma.shape[-1])
    answers = torch.fft.ifft2(torch.fft.fft2(luma) * filters)  # (O, N, S, S) complex: even and odd answers
    size = answers.abs()
    total = answers.sum(dim=1)
    length = total.abs() + torch.finfo(luma.dtype).eps
    # Along the mean phase less across it: |A| (cos - |sin|) of each scale's departure from the mean phase.
    turned = answers * (total.conj() / length)[:, None]
    energy = (turned.real - turned.imag.abs()).sum(dim=1)
    power = (size[:, 0] ** 2).flatten(1).median(dim=1).values / math.log(2) / energy_of_finest
    tau = torch.sqrt(power * noise_gain / 2)
    threshold = (tau * math.sqrt(math.pi / 2) + _NOISE_SDS * tau * math.sqrt(2 - math.pi / 2)) / _NOISE_SCALE
    energy = (energy - threshold[:, None, None]).clamp(min=0)
    congruency: Tensor = energy.sum(dim=0) / (size.sum(dim=(0, 1)) + torch.finfo(luma.dtype).eps)
    return congruency


@lru_cache(maxsize=2)
def _filters(size_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-Gabor filters (O, N, S, S), the energy of the finest (O,), and how noise adds up over scales (O,)."""
    across = torch.fft.fftfreq(size_px)[None].expand(size_px, -1)
    up = -torch.fft.fftfreq(size_px)[:, None].expand(-1, size_px)
    radius = torch.hypot(across, up)
    lowpass = 1 / (1 + (radius / _CUTOFF) ** (2 * _ORDER))
    radius[0, 0] = 1
    bands = []
    for scale in range(_SCALES):
        band = torch.exp(-torch.log(radius * _SHORTEST_PX * 2 ** scale) ** 2 / (2 * math.log(_SIGMA_F) ** 2)) * lowpass
        band[0, 0] = 0
        bands.append(band)
    angles = torch.arange(_ORIENTATIONS) * math.pi / _ORIENTATIONS
    away = torch.atan2(up, across) - angles[:, None, None]
    away = torch.atan2(away.sin(), away.cos())  # the shorter way round
    sector = torch.exp(-away ** 2 / (2 * (math.pi / _ORIENTATIONS / _ANGLE_RATIO) ** 2))
    filters = sector[:, None] * torch.stack(bands)
    kernels = torch.fft.ifft2(filters).real * size_px
    # 2 sum A_i^2 + 4 sum over i < j of A_i A_j is twice the square of the sum over scales.
    return filters, (filters[:, 0] ** 2).sum(dim=(1, 2)), 2 * (kernels.sum(dim=1) ** 2).sum(dim=(1, 2))
