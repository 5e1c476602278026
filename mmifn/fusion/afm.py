"""AFM: attend from the viewports to the panorama (Eq. 17-19), and the head that scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmifn.fusion.gff import head_count
from mmifn.fusion.lff import PointwiseConv


class AFM(nn.Module):
    """Aggregated fusion: F_G3 (B, T, D_g) and F_L (B, V, D_l) -> F_A (B, V, W).

    Eq. 17: K = V = Conv(LN(F_G3));  Eq. 18: Q = Conv(LN(Conv(F_L)));  Eq. 19: F_A = SelfAttn(Q, K, V).
    residual: add Q to the attention's output. Eq. 19 does not show it (residual=False is the letter of it); without
    it F_A holds global values only, and a viewport can but steer the attention.
    """

    def __init__(self, global_dim: int, local_dim: int, width: int, heads: int, dropout: float, residual: bool) -> None:
        super().__init__()
        self.global_norm = nn.LayerNorm(global_dim)
        self.key_value = PointwiseConv(global_dim, width)
        self.local_enter = PointwiseConv(local_dim, width)
        self.local_norm = nn.LayerNorm(width)
        self.query = PointwiseConv(width, width)
        self.attention = nn.MultiheadAttention(width, head_count(width, heads), dropout=dropout, batch_first=True)
        self.residual = residual
        self.out_dim = width

    def forward(self, fused_global: Tensor, fused_local: Tensor) -> Tensor:
        memory = self.key_value(self.global_norm(fused_global))
        query = self.query(self.local_norm(self.local_enter(fused_local)))
        attended = self.attention(query, memory, memory, need_weights=False)[0]
        return query + attended if self.residual else attended


class ConcatFusion(nn.Module):
    """Variant 6, without AFM: every viewport's F_L with the mean of F_G3 beside it, (B, V, D_l + D_g); no parameters."""

    def __init__(self, global_dim: int, local_dim: int) -> None:
        super().__init__()
        self.out_dim = global_dim + local_dim

    def forward(self, fused_global: Tensor, fused_local: Tensor) -> Tensor:
        whole = fused_global.mean(dim=1, keepdim=True).expand(-1, fused_local.shape[1], -1)
        return torch.cat([fused_local, whole], dim=2)


class Head(nn.Module):
    """Fully connected scorer of every viewport: (B, V, D) -> (B, V); the panorama's score is their mean, or ViewPool's.

    Not given by the paper, which maps F_A to the score by a fully connected layer: one set of weights for all
    viewports, so that each has a score of its own.
    """

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(in_dim), nn.Linear(in_dim, hidden), nn.GELU(), nn.Dropout(dropout),
                                    nn.Linear(hidden, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(tokens).squeeze(-1)


class ViewPool(nn.Module):
    """The panorama's score from those of its viewports, (B, V) -> (B,): their mean, as in the paper, or with `worst` a mean in
    which low scores weigh more, by one parameter that is learnt (0 at first: the plain mean)."""

    def __init__(self, worst: bool) -> None:
        super().__init__()
        self.favour = nn.Parameter(torch.zeros(())) if worst else None

    def forward(self, scores: Tensor) -> Tensor:
        if self.favour is None:
            return scores.mean(dim=1)
        return ((-self.favour * scores).softmax(dim=1) * scores).sum(dim=1)


class Correction(nn.Module):
    """What a trained model is taught later of every view, beside what fusion gave: views (B, V, D), whose last `late` numbers
    fusion did not read, and their scores (B, V) -> points to add (B, V), 0 before it is taught. Not in the paper.

    Every view is told the mean and the largest of the late numbers over the sphere too: unlike lenses are a fault of all of it.
    """

    def __init__(self, view_dim: int, late: int, hidden: int = 24) -> None:
        super().__init__()
        self.late = late
        self.enter = nn.Linear(view_dim + 2 * late + 1, hidden)
        self.leave = nn.Linear(hidden, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, views: Tensor, scores: Tensor) -> Tensor:
        late = views[..., -self.late:]
        whole = torch.cat([late.mean(dim=1, keepdim=True), late.amax(dim=1, keepdim=True)], dim=2).expand(-1, views.shape[1], -1)
        return self.leave(nn.functional.gelu(self.enter(torch.cat([views, whole, scores[..., None]], dim=2)))).squeeze(-1)
