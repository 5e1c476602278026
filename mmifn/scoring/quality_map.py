"""Where a panorama is good and where bad: the viewports' scores spread over the sphere, and drawn on the panorama.

Between the centres of the views the quality is a weighted mean of their scores. The weight of a view falls with the
angle from its centre as a von Mises-Fisher kernel that reaches one half at the edge of the view's footprint (fov / 2):
each view speaks for what it saw. A function on the sphere, the map has no seam and is single-valued at the poles.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from mmifn.core.pixels import to_pixels
from mmifn.scoring.prediction import Prediction, View
from mmifn.scoring.words import score_line
from mmifn.sphere import degrees_to_directions, directions_to_degrees, erp_directions, render_viewports, viewport_directions

MAP_WIDTH_PX = 2048  # widest picture drawn
FIELD_HEIGHT_PX = 256  # the map is smooth; this is enlarged
WORST_PX = 512  # side of the pictures of the worst views
_HALF_RANGE = 10.0  # the colours span at least this many points to either side of the panorama's score
# From bad to good, red-yellow-blue: told apart by colour-blind readers too (RdYlBu of ColorBrewer, 5 classes).
_COLOURS = np.array([[215, 25, 28], [253, 174, 97], [255, 255, 191], [171, 217, 233], [44, 123, 182]], np.float64)
_OPACITY = 0.5


def quality_field(viewports: Sequence[View], fov_deg: float, height: int = FIELD_HEIGHT_PX) -> np.ndarray:
    """Return the quality in every direction of an ERP, (height, 2 height) float64, between the views' extremes."""
    lon, lat, scores = torch.tensor([(view.lon_deg, view.lat_deg, view.score) for view in viewports], dtype=torch.float64).T
    nearness = erp_directions(height, 2 * height) @ degrees_to_directions(lon, lat).T  # cosines, (H, W, V)
    sharpness = np.log(2) / (1 - np.cos(np.radians(fov_deg / 2)))
    weights = torch.softmax(sharpness * nearness, dim=2)
    return np.asarray((weights @ scores).numpy())


def colour_range(prediction: Prediction) -> tuple[float, float]:
    """Return the scores at the two ends of the colours: all views, and at least ten points around the whole's score."""
    spread = max(abs(view.score - prediction.score) for view in prediction.viewports)
    half = max(_HALF_RANGE, spread)
    return prediction.score - half, prediction.score + half


def colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the colour of each value, (…, 3) uint8."""
    position = np.clip((values - low) / (high - low), 0, 1) * (len(_COLOURS) - 1)
    mixed = [np.interp(position, range(len(_COLOURS)), _COLOURS[:, c]) for c in range(3)]
    return np.stack(mixed, axis=-1).round().astype(np.uint8)


def enlarge(field: np.ndarray, height: int) -> np.ndarray:
    """Resize a field (H, 2H) to (height, 2 height), continuous across the seam."""
    wide = np.concatenate([field[:, -4:], field, field[:, :4]], axis=1)
    factor = height / len(field)
    x = (np.arange(2 * height) + 0.5) / factor - 0.5 + 4
    y = (np.arange(height) + 0.5) / factor - 0.5
    return cv2.remap(wide.astype(np.float32), *np.meshgrid(x.astype(np.float32), y.astype(np.float32)), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)


def reduced(erp: np.ndarray, width: int = MAP_WIDTH_PX) -> np.ndarray:
    """Return an ERP (H, W, 3) uint8 at most `width` wide and exactly 2:1, for looking at."""
    width = min(width, erp.shape[1] // 2 * 2)
    return cv2.resize(erp, (width, width // 2), interpolation=cv2.INTER_AREA)


def draw_map(erp: np.ndarray, prediction: Prediction, title: str, covered: np.ndarray | None = None) -> np.ndarray:
    """Draw the quality map over a panorama (H, W, 3) uint8, with the views' scores and a legend: (H', W', 3) uint8.

    covered: (h, 2h) bool where the panorama has content, None for everywhere; nothing is drawn elsewhere.
    """
    small = reduced(erp)
    low, high = colour_range(prediction)
    field = enlarge(quality_field(prediction.viewports, prediction.fov_deg), len(small))
    grey = cv2.cvtColor(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)  # colours mean quality only
    mixed = cv2.addWeighted(grey, 1 - _OPACITY, colours(field, low, high), _OPACITY, 0)
    if covered is not None:
        seen = cv2.resize(covered.astype(np.uint8), small.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
        mixed = np.where(seen, mixed, grey)
    worst = prediction.worst()
    for i in worst:
        _outline(mixed, prediction.viewports[i], prediction.fov_deg)
    canvas = Image.fromarray(mixed)
    _label(canvas, prediction, worst)
    return np.concatenate([np.asarray(canvas), _legend(small.shape[1], prediction, title, low, high)])


def _position(view: View, width: int) -> tuple[float, float]:
    return (view.lon_deg + 180) / 360 * width, (90 - view.lat_deg) / 360 * width


def _outline(picture: np.ndarray, view: View, fov_deg: float) -> None:
    """Draw the edge of a view, broken where it crosses the seam."""
    rays = viewport_directions(view.lon_deg, view.lat_deg, fov_deg, 65)
    edge = torch.cat([rays[0], rays[:, -1], rays[-1].flip(0), rays[:, 0].flip(0)])
    lon, lat = directions_to_degrees(edge)
    width = picture.shape[1]
    points = torch.stack([(lon + 180) / 360 * width, (90 - lat) / 360 * width], dim=1).numpy().round().astype(int)
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(points, np.roll(points, -1, axis=0), strict=True)
             if abs(a[0] - b[0]) < width / 2]
    for colour, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        for a, b in pairs:
            cv2.line(picture, a, b, colour, max(1, thickness * width // MAP_WIDTH_PX), cv2.LINE_AA)


def _label(canvas: Image.Image, prediction: Prediction, worst: list[int]) -> None:
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(max(10, canvas.width // 60))
    for i, view in enumerate(prediction.viewports):
        text = f"{view.score:.0f}" + (f" ({worst.index(i) + 1})" if i in worst else "")
        x, y = _position(view, canvas.width)
        edge = max(1, canvas.width // 700)
        place, anchor = ((2 * edge, y), "lm") if x == 0 else ((x, y), "mm")  # on the seam: whole, at the left end
        draw.text(place, text, "white", font, anchor, stroke_width=edge, stroke_fill="black")


def _legend(width: int, prediction: Prediction, title: str, low: float, high: float) -> np.ndarray:
    """Return the strip below the map: what it is, the score, and what the colours mean."""
    size = max(10, width // 60)
    canvas = Image.new("RGB", (width, 5 * size), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size)
    draw.text((size, size), f"{title[-60:]}: {score_line(prediction)}", "black", font)
    left, right, top = size, width // 2, int(2.8 * size)
    bar = colours(np.linspace(low, high, right - left), low, high)
    canvas.paste(Image.fromarray(np.repeat(bar[None], size, axis=0)), (left, top))
    for share, anchor in ((0, "la"), (0.5, "ma"), (1, "ra")):
        draw.text((left + share * (right - left), top + size), f"{low + share * (high - low):.0f}", "black", font, anchor)
    draw.text((right + size, top), "worse (red) to better (blue); numbers: views, (1)-(3) the worst", "black", font)
    return np.asarray(canvas)


def view_pictures(erp: np.ndarray, prediction: Prediction, indices: Sequence[int], size_px: int) -> np.ndarray:
    """Return some of the views as pictures, (N, size_px, size_px, 3) uint8."""
    centres = torch.tensor([(prediction.viewports[i].lon_deg, prediction.viewports[i].lat_deg) for i in indices])
    views = render_viewports(erp, centres, prediction.fov_deg, size_px)
    return to_pixels(views)
