"""What a model is made of: its variant and its widths."""

from __future__ import annotations

from dataclasses import dataclass

from mmifn.core.errors import UserError

# Numbers as in the paper's Table IV; number 2 is not known.
VARIANTS = {"full": 1, "w/o text": 3, "w/o GFF": 4, "w/o LFF": 5, "w/o AFM": 6, "w/o LIT": 7}


@dataclass(frozen=True)
class ModelConfig:
    """What a model is made of, apart from the dimensions of its inputs.

    level_widths: widths of the three GFF levels; None keeps those of the features, as the paper does (192/384/768
    with VMamba-T). lit_hidden, width: hidden width of LIT's MLPs and width of AFM (not given by the paper).
    text_dropout: share of the training images that a branch sees without their text, so that it does not lean on words
    alone; global_dropout: share of them that GFF sees without the panorama's features, of which there are many more than
    scenes to learn from (not in the paper; 0 is off). worst_views: learn by how much the worst viewports count more for the
    panorama's score than the others, where the paper takes the mean. late: how many of a view's last numbers are kept from the
    fusion, and are for the corrections alone that a trained model is taught later (training.correction).
    """

    variant: str = "full"
    level_widths: tuple[int, int, int] | None = None
    lit_hidden: int = 256
    width: int = 256
    heads: int = 8
    dropout: float = 0.1
    afm_residual: bool = True
    lit_residual: bool = True
    text_dropout: float = 0.0
    global_dropout: float = 0.0
    worst_views: bool = False
    late: int = 0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"variant {self.variant!r} is not one of {', '.join(VARIANTS)}")
        if self.late < 0:
            raise UserError(f"--late must not be negative, got {self.late}")
        for name in ("dropout", "text_dropout", "global_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 0 and below 1, got {getattr(self, name)}")
