"""MMIFN from Python: `mmifn.load_model` gives a model that scores files, pictures, arrays and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmifn.core.defaults import AUTO, BATCH, EQUIRECTANGULAR, HEADSET_PPD, MAX_MEGAPIXELS, PROJECTIONS
from mmifn.core.errors import UserError
from mmifn.core.pixels import to_pixels
from mmifn.data.images import check_header, decode, open_picture
from mmifn.data.placement import LEAST_HEIGHT_PX, Sphere, place, read_spheres
from mmifn.scoring.panorama import Predictor, open_predictor
from mmifn.scoring.perspective import ViewPrediction, score_view
from mmifn.scoring.prediction import Prediction, View

Picture = str | Path | bytes | BinaryIO | Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class PanoramaModel:
    """A trained model, loaded once; made by `load_model`."""

    predictor: Predictor
    max_megapixels: float = MAX_MEGAPIXELS
    device: str = "auto"

    def score(self, image: Picture) -> Prediction:
        """Score one panorama; see `spheres_of` for what it may be. Raises UserError where it cannot be scored."""
        return self.score_parts(image)[0]

    def score_parts(self, image: Picture, projection: str = AUTO) -> list[Prediction]:
        """Score each sphere of a picture of some projection: both eyes of stereo-tb, stereo-lr and vr180, else one."""
        spheres = spheres_of(image, self.max_megapixels, projection)
        return [self.predictor.score_sphere(sphere, name_of(image)) for sphere in spheres]

    def score_many(self, images: Iterable[Picture] | Tensor, batch_size: int | None = None) -> Iterator[Prediction]:
        """Yield the score of each panorama, in order: of a list, a generator, or a tensor (B, 3, H, W) in 0..1.

        batch_size: how many go through the networks in one pass (default: 8 on a GPU; 1 on a CPU, where more only take
        memory). Where one cannot be scored, those before it are yielded before UserError is raised.
        """
        most = BATCH[self.predictor.encoders.views.device.type] if batch_size is None else batch_size
        if most < 1:
            raise UserError(f"batch_size {batch_size}: at least 1 is needed")
        return self._in_batches(images, most)

    def _in_batches(self, images: Iterable[Picture] | Tensor, most: int) -> Iterator[Prediction]:
        """Read pictures until there are as many as fit into a batch, score them, and go on."""
        spheres: list[Sphere] = []
        names: list[str] = []
        refused: UserError | None = None
        for image in images:
            try:
                spheres.append(spheres_of(image, self.max_megapixels)[0])
                names.append(name_of(image))
            except UserError as error:
                refused = error
            if refused or len(spheres) == most:
                yield from self.predictor.score_spheres(spheres, names) if spheres else ()
                spheres, names = [], []
            if refused:
                raise refused
        if spheres:
            yield from self.predictor.score_spheres(spheres, names)

    def score_view(self, image: Picture, *, fov_deg: float | None = None) -> ViewPrediction:
        """Score an ordinary photograph, or one view of a panorama that spans fov_deg across; see `mmifn.score_view`."""
        return score_view(image if isinstance(image, str | Path) else pixels_of(image, self.max_megapixels), fov_deg=fov_deg,
                          device=self.device)

    def views(self, image: Picture) -> tuple[View, ...]:
        """Return the viewports of a panorama, each with where it looks and its own score, the worst first."""
        prediction = self.score(image)
        return tuple(prediction.viewports[i] for i in prediction.worst(len(prediction.viewports)))


def load_model(checkpoint: str | Path | None = None, preset: str = "offline", device: str = "auto", *,
               pixels_per_degree: float = HEADSET_PPD, max_megapixels: float = MAX_MEGAPIXELS) -> PanoramaModel:
    """Load a model with the networks that it was trained on.

    checkpoint: a model of tools/export_model.py or a checkpoint of train.py (None: the one that comes with the package);
    preset: the networks that it was trained on; device: "auto", "cpu" or "cuda"; pixels_per_degree: of the headset to score
    for, at the default people judged. Raises UserError for a model of other features, or where weights are missing.
    """
    path = Path(checkpoint) if checkpoint is not None else None
    return PanoramaModel(open_predictor(preset, path, device, pixels_per_degree), max_megapixels, device)


def name_of(image: Any) -> str:
    """Return what messages call a picture: its path, or "the image"."""
    return str(image) if isinstance(image, str | Path) else "the image"


def spheres_of(image: Picture, max_megapixels: float = MAX_MEGAPIXELS, projection: str = AUTO) -> list[Sphere]:
    """Return the spheres of a picture, one for each of its parts (core.defaults.PARTS).

    image: a file, its bytes, a file object or a PIL image; an array (H, W, 3), uint8 or floating-point in 0..1; or a tensor
    (3, H, W) or (1, 3, H, W) in 0..1, on any device. projection: what it is (data.projections); "auto" refuses what is no
    equirectangular panorama. Raises UserError for anything that cannot be scored.
    """
    if projection not in PROJECTIONS:
        raise UserError(f"projection {projection!r} is unknown; there are: {', '.join(PROJECTIONS)}")
    if isinstance(image, Tensor | np.ndarray):
        pixels = pixels_of(image, max_megapixels)
        check_header((pixels.shape[1], pixels.shape[0]), Path(name_of(image)), max_megapixels,
                     projection in (AUTO, EQUIRECTANGULAR), LEAST_HEIGHT_PX)
        return place(pixels, name_of(image), projection=projection)
    if isinstance(image, str) and "://" in image:
        raise UserError(f"{image}: addresses are not fetched; download the picture and give its path")
    source = Path(image) if isinstance(image, str) else image
    return read_spheres(source, name_of(image), projection=projection, max_megapixels=max_megapixels)


def pixels_of(image: Picture, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Return the pixels (H, W, 3) uint8 of a picture of any shape and content. Raises UserError where there are none."""
    if isinstance(image, Tensor | np.ndarray):
        return _of_tensor(image) if isinstance(image, Tensor) else _of_array(image)
    with open_picture(Path(image) if isinstance(image, str) else image, name_of(image)) as picture:
        check_header(picture.size, Path(name_of(image)), max_megapixels, panorama=False)
        return decode(picture, name_of(image))


def _of_tensor(image: Tensor) -> np.ndarray:
    planes = image[0] if image.ndim == 4 and len(image) == 1 else image
    if planes.ndim != 3 or planes.shape[0] != 3 or not planes.is_floating_point():
        raise UserError(f"wanted a tensor (3, H, W) or (1, 3, H, W) of floating-point values in 0..1, got {tuple(image.shape)} "
                        f"{image.dtype}; score_many takes batches")
    planes = planes.detach().float().cpu()
    _check_range(planes)
    return to_pixels(planes)


def _of_array(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or not (image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating)):
        raise UserError(f"the pixels of a panorama are (H, W, 3), uint8 or floating-point in 0..1; got "
                        f"{image.shape} {image.dtype}")
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    planes = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).movedim(-1, 0)
    _check_range(planes)
    return to_pixels(planes)


def _check_range(planes: Tensor) -> None:
    low, high = float(planes.min()), float(planes.max())
    if not (low >= 0 and high <= 1):  # written so that NaN is refused too
        raise UserError(f"floating-point pixels must lie in 0..1, found {low:g} to {high:g}; divide by the value of white")
