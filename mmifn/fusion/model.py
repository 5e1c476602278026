"""The MMIFN model: GFF and LFF joined by AFM, all ablation variants by configuration."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from mmifn.core.errors import UserError
from mmifn.fusion.afm import AFM, ConcatFusion, Correction, Head, ViewPool
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.gff import GFF
from mmifn.fusion.inputs import Dimensions, FusedInputs, Inputs
from mmifn.fusion.lff import LIT, AttentionLFF, ConcatLFF, VisionOnlyLFF

_SAME = 1e-6  # spread, for the size of the values, below which a feature is constant but for rounding


class Standardise(nn.Module):
    """Shift and scale every feature to mean 0 and SD 1 over the training images; identity until fitted.

    A feature that was the same in all of them says nothing, and is 0 for ever (the size, where all had one size).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def fit(self, features: Tensor) -> None:
        flat = features.flatten(0, -2)
        mean, spread = flat.mean(dim=0), flat.std(dim=0)
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(spread > _SAME * (1 + mean.abs()), 1 / spread, 0.0))

    def forward(self, features: Tensor) -> Tensor:
        return ((features - self.mean) * self.scale).clamp(-8, 8)  # a dead channel must not explode on a new image


class ImageDropout(nn.Module):
    """In training, zero all features (B, …) of an image with a probability; the other images stay as they are."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, *features: Tensor) -> list[Tensor]:
        if not self.training or not self.probability:
            return list(features)
        kept = torch.rand(len(features[0]), device=features[0].device) >= self.probability
        return [feature * kept.view(-1, *[1] * (feature.dim() - 1)) for feature in features]


class GlobalBranch(nn.Module):
    """Inputs -> F_G3 (B, T, D): GFF, or in variant 4 the levels, as pooled to the grid, with the text beside each cell.

    Pooled to a single vector, variant 4 would leave AFM one key: its output, without the residual, would be the same
    for every viewport and never see LFF.
    """

    def __init__(self, config: ModelConfig, dims: Dimensions) -> None:
        super().__init__()
        self.standardise = nn.ModuleList(Standardise(c) for c in dims.levels)
        self.text_dropout, self.global_dropout = ImageDropout(config.text_dropout), ImageDropout(config.global_dropout)
        self.concatenate = config.variant == "w/o GFF"
        self.with_text = config.variant != "w/o text"
        if self.concatenate:
            self.out_dim = sum(dims.levels) + dims.text
        else:
            self.gff = GFF(dims.levels, config.level_widths or dims.levels, dims.text if self.with_text else None,
                           config.heads, config.dropout)
            self.out_dim = self.gff.out_dim

    def fit_inputs(self, inputs: Inputs) -> None:
        for module, level in zip(self.standardise, inputs.levels, strict=True):
            module.fit(level)

    def forward(self, inputs: Inputs) -> Tensor:
        levels = self.global_dropout(*(module(level) for module, level in zip(self.standardise, inputs.levels, strict=True)))
        if self.concatenate:
            pooled, = self.text_dropout(inputs.pooled_text)
            return torch.cat([*levels, pooled[:, None].expand(-1, levels[0].shape[1], -1)], dim=2)
        if not self.with_text:
            return self.gff(levels, None, None)
        return self.gff(levels, *self.text_dropout(inputs.text), inputs.mask)


def _local_fusion(config: ModelConfig, dims: Dimensions) -> nn.Module:
    """Return how a variant joins views and text: LIT, or what stands in its place in variants 3, 5 and 7."""
    match config.variant:
        case "w/o text":
            return VisionOnlyLFF(dims.view, dims.text, config.lit_hidden, config.dropout, config.lit_residual)
        case "w/o LFF":
            return ConcatLFF(dims.view, dims.text)
        case "w/o LIT":
            return AttentionLFF(dims.view, dims.text, config.heads, config.dropout)
        case _:
            return LIT(dims.view, dims.text, config.lit_hidden, config.dropout, config.lit_residual)


class LocalBranch(nn.Module):
    """Inputs -> F_L (B, V, D): LFF with LIT, or its replacement in variants 3, 5 and 7."""

    def __init__(self, config: ModelConfig, dims: Dimensions) -> None:
        super().__init__()
        self.known = dims.view - config.late
        if self.known < 1:
            raise UserError(f"--late {config.late}: a view has {dims.view} numbers; leave the fusion one at least")
        dims = replace(dims, view=self.known)
        self.standardise = Standardise(dims.view)
        self.standardise_text = Standardise(dims.text)
        self.text_dropout = ImageDropout(config.text_dropout)
        self.lff = _local_fusion(config, dims)
        self.out_dim = self.lff.out_dim

    def fit_inputs(self, inputs: Inputs) -> None:
        self.standardise.fit(inputs.views[..., :self.known])
        self.standardise_text.fit(inputs.pooled)

    def forward(self, inputs: Inputs) -> Tensor:
        views = self.standardise(inputs.views[..., :self.known])
        return self.lff(views, *self.text_dropout(self.standardise_text(inputs.pooled)))


class BranchScorer(nn.Module):
    """One branch with a small head of its own: Inputs -> (B, V or T) scores, whose mean is the panorama's."""

    def __init__(self, branch: GlobalBranch | LocalBranch, config: ModelConfig) -> None:
        super().__init__()
        self.branch = branch
        self.head = Head(branch.out_dim, config.width, config.dropout)
        self.pool = ViewPool(worst=False)

    def fit_inputs(self, inputs: Inputs) -> None:
        self.branch.fit_inputs(inputs)

    def forward(self, inputs: Inputs) -> Tensor:
        return self.head(self.branch(inputs))


class MMIFN(nn.Module):
    """The whole model: Inputs -> (B, V) scores of the viewports; `pool` makes the panorama's score (B,) of them.

    Scores are in standardised MOS; the trainer knows the scale.
    """

    def __init__(self, config: ModelConfig, dims: Dimensions) -> None:
        super().__init__()
        self.global_branch = GlobalBranch(config, dims)
        self.local_branch = LocalBranch(config, dims)
        sizes = self.global_branch.out_dim, self.local_branch.out_dim
        if config.variant == "w/o AFM":
            self.fusion = ConcatFusion(*sizes)
        else:
            self.fusion = AFM(*sizes, config.width, config.heads, config.dropout, config.afm_residual)
        self.head = Head(self.fusion.out_dim, config.width, config.dropout)
        self.pool = ViewPool(config.worst_views)
        if config.late:
            self.standardise_views = Standardise(dims.view)
            self.correction = Correction(dims.view, config.late).requires_grad_(False)
        else:
            self.correction = None

    def fit_inputs(self, inputs: Inputs) -> None:
        """Take the scale of every feature from the training images."""
        self.global_branch.fit_inputs(inputs)
        self.local_branch.fit_inputs(inputs)
        if self.correction is not None:
            self.standardise_views.fit(inputs.views)

    def fused(self, inputs: Inputs) -> Tensor:
        """Return the viewport scores (B, V) that fusion gives, before any correction."""
        return self.head(self.fusion(self.global_branch(inputs), self.local_branch(inputs)))

    def forward(self, inputs: Inputs) -> Tensor:
        scores = self.fused(inputs)
        return scores if self.correction is None else self.corrected(inputs.views, scores)

    def corrected(self, views: Tensor, scores: Tensor) -> Tensor:
        """Return the viewport scores (B, V) that fusion gave with what the correction adds; views: (B, V, D)."""
        return scores + self.correction(self.standardise_views(views), scores)


class FusionOnly(nn.Module):
    """AFM and head of a model, reading fused features instead of encoder features: FusedInputs -> (B, V)."""

    def __init__(self, network: MMIFN) -> None:
        super().__init__()
        self.fusion, self.head, self.pool = network.fusion, network.head, network.pool

    def forward(self, inputs: FusedInputs) -> Tensor:
        return self.head(self.fusion(inputs.fused_global, inputs.fused_local))


class Uncorrected(nn.Module):
    """A model without what it was taught later: Inputs -> (B, V), as its fusion gives."""

    def __init__(self, network: MMIFN) -> None:
        super().__init__()
        self.network, self.pool = network, network.pool

    def forward(self, inputs: Inputs) -> Tensor:
        return self.network.fused(inputs)
