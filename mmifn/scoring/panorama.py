"""Score any panorama: how good, where, and why. `mmifn.score` and predict.py rest on this module.

Every step is the very code of the stages: read_image, the measured words and the text encoder (stages 1 and 2), the
tangent views (3), the resized ERP (4), and a trained MMIFN, whose viewport scores have the panorama's score as mean.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmifn.core.artefact import sha256_tensors
from mmifn.core.defaults import HEADSET_PPD, MAX_MEGAPIXELS
from mmifn.core.device import resolve_device
from mmifn.core.errors import UserError
from mmifn.core.files import sha256_json
from mmifn.core.workers import one_thread, usable_cores
from mmifn.data.features import GLOBAL, TEXT, VIEWPORT
from mmifn.data.mos_scale import SCALES
from mmifn.data.padding import view_shares
from mmifn.data.placement import Sphere, place
from mmifn.data.resolution import resolution_note
from mmifn.describe.measured.describer import Description, MeasuredDescriber, Reading, describe
from mmifn.describe.measured.wording import unexplained
from mmifn.encoders.efficientnet_lite import fold_norms
from mmifn.encoders.encode import (
    beside,
    embed_several_erps,
    embed_several_views,
    global_provenance,
    render_preset,
    resize_preset,
    viewport_provenance,
)
from mmifn.encoders.encoder import Encoder
from mmifn.encoders.networks import load_erp_encoder, load_view_encoder
from mmifn.encoders.presets import PRESETS, Preset, at_resolution
from mmifn.encoders.text import TextEncoder, encode_descriptions, load_text_encoder, text_provenance
from mmifn.fusion.inputs import Inputs
from mmifn.fusion.model import MMIFN, Uncorrected
from mmifn.scoring.model import Model, load_model, shipped_path
from mmifn.scoring.prediction import Prediction, View, as_flawless, in_words
from mmifn.simulate.curves import RULE, ceiling
from mmifn.sphere import SAMPLERS, seen_ppd
from mmifn.training.checkpoint import as_content, require_method
from mmifn.training.fit import pooled, viewport_scores

SCHEMA = "prediction/4"  # bump when the same picture and model would give other numbers or words
_LEAST_SEEN = 0.5  # of a view that must have content for the view to count
_LOW = 15.0  # points below a flawless panorama of the size from which neither it nor a view is called clean


def _word_threads() -> int:
    """Return how many threads measure for the words beside the one that sees to the views: two where they do not take turns."""
    return min(2, max(1, usable_cores() - 1))


@dataclass(frozen=True)
class Encoders:
    """The frozen networks of a preset."""

    text: TextEncoder
    views: Encoder
    erp: Encoder

    @classmethod
    def load(cls, preset: Preset, device: torch.device) -> Encoders:
        return cls(load_text_encoder(preset.text, device), load_view_encoder(preset.viewport, device),
                   load_erp_encoder(preset, device))

    def method(self, preset: Preset) -> dict[str, str]:
        """Return how these features are made, as the caches of a database tell it."""
        made = {TEXT: text_provenance(self.text, {}), VIEWPORT: viewport_provenance(preset, self.views, {}),
                GLOBAL: global_provenance(preset, self.erp, {})}
        return {name: provenance.method_digest() for name, provenance in made.items()}

    def encode(self, erp: np.ndarray, preset: Preset, name: str = "the image") -> tuple[Inputs, Description]:
        """Return the model inputs of one panorama (H, W, 3) uint8, and what was measured, in words."""
        inputs, [description] = self.encode_several([erp], preset, [name])
        return inputs, description

    def encode_several(self, erps: list[np.ndarray], preset: Preset, names: list[str]) -> tuple[Inputs, list[Description]]:
        """Return the model inputs of panoramas (H, W, 3) uint8, embedded in one pass of each network, and each in words."""
        def whole() -> list[list[torch.Tensor]]:
            with one_thread():  # which torch counts for each thread by itself
                return embed_several_erps([resize_preset(erp, preset) for erp in erps], self.erp, names)

        with ThreadPoolExecutor(1) as pool, one_thread():  # words and whole together take about as long as the views
            words = [pool.submit(describe, erp, _word_threads()) for erp in erps]
            embedded = pool.submit(whole)
            rendered = [render_preset(erp, preset) for erp in erps]
            seen = [(views, beside(erp, views, preset, self.views.device)) for erp, views in zip(erps, rendered, strict=True)]
            views = embed_several_views(seen, self.views, names)
            levels = whole() if embedded.cancel() else embedded.result()  # where the words are not done with, here
            descriptions = [said.result() for said in words]
            text = encode_descriptions("", {str(i): said.text for i, said in enumerate(descriptions)}, self.text, show=False)[0]
        return Inputs.of(text.tokens, text.mask, text.pooled, torch.stack(views),
                         [torch.stack(level) for level in zip(*levels, strict=True)]), descriptions


@dataclass(frozen=True)
class Predictor:
    """A trained model with the encoders that it was trained on, ready to score; open it with `open_predictor`."""

    preset: Preset
    encoders: Encoders
    model: Model
    network: MMIFN
    identity: str

    def score_pixels(self, erp: np.ndarray, name: str = "the image") -> Prediction:
        """Score a panorama (H, W, 3) uint8, refusing what is plainly none."""
        return self.score_sphere(place(erp, name)[0], name)

    def score_sphere(self, sphere: Sphere, name: str = "the image") -> Prediction:
        """Score a sphere by those of its views that have content."""
        return self.score_spheres([sphere], [name])[0]

    def score_spheres(self, spheres: list[Sphere], names: list[str]) -> list[Prediction]:
        """Score spheres in one pass of each network, each by those of its views that have content."""
        centres = SAMPLERS[self.preset.sampler]().tolist()
        seen = [np.flatnonzero(view_shares(sphere.covered, centres, self.preset.fov_deg) >= _LEAST_SEEN) for sphere in spheres]
        for sphere, name, rows in zip(spheres, names, seen, strict=True):
            if not len(rows):
                raise UserError(f"{name} covers {100 * sphere.share:.0f} % of its sphere, and half of no view; nothing can be "
                                "scored")
        inputs, descriptions = self.encoders.encode_several([sphere.erp for sphere in spheres], self.preset, names)
        with one_thread():
            views = viewport_scores(self.network, inputs, self.model.checkpoint.scale)
            before = viewport_scores(Uncorrected(self.network), inputs, self.model.checkpoint.scale)
        return [self._said(*parts) for parts in zip(spheres, names, descriptions, views, before, seen, strict=True)]

    def _said(self, sphere: Sphere, name: str, description: Description, views: np.ndarray, before: np.ndarray,
              seen: np.ndarray) -> Prediction:
        """Return what is said of a sphere: views and before (V,) are the scores of all its views, with and without what the model
        was taught later; `seen`: those that have content."""
        centres = SAMPLERS[self.preset.sampler]().numpy()
        checkpoint, calibration, views = self.model.checkpoint, self.model.calibration, views[seen]
        mean, uncorrected = pooled(self.network, np.stack([views, before[seen]]), checkpoint.scale).tolist()
        if not np.isfinite(views).all():
            raise UserError(f"{name}: the model gives scores that are not finite numbers; make or fetch it again")
        low, high = SCALES[checkpoint.mos_scale]

        def percent(value: float) -> float:
            return float(np.clip((value - low) / (high - low) * 100, 0, 100))

        ends = calibration.interval(mean, low, high, mean - uncorrected) if calibration else None
        interval = (percent(ends[0]), percent(ends[1])) if ends else None
        width = sphere.erp.shape[1]
        judged_px = round(360 * seen_ppd(width, self.preset.headset_ppd))
        warnings = [*sphere.notes, *resolution_note(sphere.erp, judged_px)]
        if len(seen) < len(centres):
            warnings.append(f"{len(seen)} of {len(centres)} views have content; the score is theirs")
        if self.preset.description != "measured":
            warnings.append(f"described by measurements, not by {self.preset.description}, as is usual with this preset")
        kept = centres[seen]
        ceiling, scores = self.ceiling(width), [percent(value) for value in views]
        reading = description.reading(kept, np.array(scores), as_flawless(percent(mean), ceiling),
                                      low=ceiling is not None and percent(mean) < ceiling - _LOW,
                                      lost=ceiling - interval[0] if ceiling is not None and interval else None)
        said = Prediction(percent(mean), in_words(percent(mean)), interval, calibration.level if calibration else None,
                          tuple(View(lon, lat, score) for (lon, lat), score in zip(kept.tolist(), scores, strict=True)),
                          self.preset.fov_deg, reading.told, tuple(warnings), self.identity, ceiling,
                          judged_px=judged_px, covered=sphere.share,
                          heading_deg=sphere.heading_deg)
        return replace(said, worst_words=_worst_words(said, reading))

    def ceiling(self, erp_width_px: int) -> float | None:
        """Return the score of a flawless panorama of that width, or None where the model's labels do not count the size."""
        return ceiling(erp_width_px, self.preset.headset_ppd) if self.model.counts_size else None


def _worst_words(said: Prediction, reading: Reading) -> tuple[str, ...]:
    """Return the words of the views of `worst()`, none of which is called clean where the model scores it low."""
    views = [said.viewports[i] for i in said.worst()]
    told = [(reading.of_view(view.lon_deg, view.lat_deg), view.score) for view in views]
    low = said.ceiling - _LOW if said.ceiling is not None else -np.inf
    return tuple(unexplained(words) if score < low else words for words, score in told)


@lru_cache(maxsize=2)
def open_predictor(preset: str = "offline", checkpoint: Path | None = None, device: str = "auto",
                   headset_ppd: float = HEADSET_PPD) -> Predictor:
    """Load a model and the encoders of a preset, refusing a model that was trained on other features.

    checkpoint: a model of tools/export_model.py or a checkpoint of train.py; None for the one that comes with the package.
    headset_ppd: pixels per degree of the headset to score for (presets.at_resolution).
    """
    if preset not in PRESETS:
        raise UserError(f"preset {preset!r} is unknown; there are: {', '.join(sorted(PRESETS))}")
    looking = at_resolution(PRESETS[preset], headset_ppd)
    path, place = checkpoint or shipped_path(preset), resolve_device(device)
    model = load_model(path)
    encoders = Encoders.load(PRESETS[preset], place)
    method = encoders.method(PRESETS[preset])
    require_method(model.checkpoint, method, f"preset {preset}", path,
                   "Score with the preset that it was trained on (--preset), or train again on this preset's features "
                   "(run_pipeline.py) and give the new checkpoint with --checkpoint")
    if model.checkpoint.tuned:
        model.checkpoint.tuned.into(encoders.views, encoders.erp)
    for encoder in (encoders.views, encoders.erp):  # no longer to be tuned, nor asked for their hash
        fold_norms(encoder.network)
    content = as_content(model.checkpoint)
    parts = [SCHEMA, sha256_tensors(content["state"]), content["model"], content["scale"], content["mos_scale"], method,
             vars(model.calibration) if model.calibration else None, vars(MeasuredDescriber().identity)]
    parts += ([headset_ppd] if headset_ppd != HEADSET_PPD else []) + ([RULE] if model.counts_size else [])
    parts += [tuned.digest()] if (tuned := model.checkpoint.tuned) else []
    return Predictor(looking, encoders, model, model.checkpoint.network(place), sha256_json(parts)[:16])


def score(image: Any, *, checkpoint: str | Path | None = None, preset: str = "offline", device: str = "auto",
          pixels_per_degree: float = HEADSET_PPD, max_megapixels: float = MAX_MEGAPIXELS) -> Prediction:
    """Score one panorama, by the model that comes with the package or a checkpoint. Raises UserError where it cannot be.

    image: a path, bytes, a file object, a PIL image, an array or a tensor (`mmifn.scoring.api.spheres_of`); pixels_per_degree:
    of the headset that it is meant for; at the default people judged. The model stays loaded for the next call.
    """
    from mmifn.scoring.api import name_of, spheres_of  # which stand on this module

    (sphere,) = spheres_of(image, max_megapixels)  # refused, where it is, before a model is loaded
    return open_predictor(preset, checkpoint and Path(checkpoint), device, pixels_per_degree).score_sphere(sphere, name_of(image))
