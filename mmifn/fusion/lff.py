"""LFF: fuse text with every viewport by LIT, viewport by viewport (Eq. 13-15), and its two ablated forms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmifn.fusion.gff import head_count


class SoftmaxMLP(nn.Module):
    """MLP(SoftMax(f)) of Eq. 13 and 14: (…, D) -> (…, D_out).

    A softmax over D entries is about 1/D, too small to learn from at the usual initialisation; it is multiplied by D,
    which is the same function family with the first layer's weights scaled. Not given by the paper: depth 2, GELU.
    """

    def __init__(self, in_dim: int, hidden: int, out_dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, out_dim))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features.softmax(dim=-1) * features.shape[-1])


class PointwiseConv(nn.Module):
    """A 1 x 1 convolution along a sequence: (B, V, D) -> (B, V, D_out)."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_dim, out_dim, kernel_size=1)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.conv(tokens.transpose(1, 2)).transpose(1, 2)


def of_viewports(text: Tensor, views: int) -> Tensor:
    """Return the text of each viewport, (B, V, D): the image's (B, D) for all, or its own (B, V, D)."""
    return text if text.dim() == 3 else text[:, None].expand(-1, views, -1)


class LIT(nn.Module):
    """Local image-text fusion: viewports (B, V, D_v) and text (B, D_t), or (B, V, D_t) of each viewport -> (B, V, D_t).

    Eq. 13: f~ = f_t * MLP(SoftMax(f_l));  Eq. 14: f~ = f~ + MLP(SoftMax(f_l));  Eq. 15: f_vt = Conv(ReLU(f~)).
    The two MLPs have weights of their own. Not given by the paper: the kernel of the convolution (1, so that
    viewports stay apart); the MLPs also bridge D_v to D_t where the two differ.
    residual: add Conv(f_l), a way past the softmax (residual=False is the letter of the equations).
    """

    def __init__(self, view_dim: int, text_dim: int, hidden: int, dropout: float, residual: bool = False) -> None:
        super().__init__()
        self.past = PointwiseConv(view_dim, text_dim) if residual else None
        self.scale = SoftmaxMLP(view_dim, hidden, text_dim, dropout)
        self.shift = SoftmaxMLP(view_dim, hidden, text_dim, dropout)
        self.conv = PointwiseConv(text_dim, text_dim)
        self.out_dim = text_dim

    def forward(self, views: Tensor, text: Tensor) -> Tensor:
        fused = of_viewports(text, views.shape[1]) * self.scale(views)
        fused = self.conv((fused + self.shift(views)).relu())
        return fused if self.past is None else fused + self.past(views)


class VisionOnlyLFF(nn.Module):
    """Variant 3, without text: f_v = Conv(ReLU(MLP(SoftMax(f_l)))), (B, V, D_v) -> (B, V, D_out); residual as in LIT."""

    def __init__(self, view_dim: int, out_dim: int, hidden: int, dropout: float, residual: bool = False) -> None:
        super().__init__()
        self.past = PointwiseConv(view_dim, out_dim) if residual else None
        self.shift = SoftmaxMLP(view_dim, hidden, out_dim, dropout)
        self.conv = PointwiseConv(out_dim, out_dim)
        self.out_dim = out_dim

    def forward(self, views: Tensor, text: Tensor | None) -> Tensor:
        fused = self.conv(self.shift(views).relu())
        return fused if self.past is None else fused + self.past(views)


class AttentionLFF(nn.Module):
    """Variant 7, without LIT: self-attention over the viewports and the text as one sequence; text is dropped after.

    Text (B, D_t) is one token of it, text of each viewport (B, V, D_t) as many as viewports.
    """

    def __init__(self, view_dim: int, text_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(view_dim, text_dim)
        self.attention = nn.MultiheadAttention(text_dim, head_count(text_dim, heads), dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(text_dim)
        self.out_dim = text_dim

    def forward(self, views: Tensor, text: Tensor) -> Tensor:
        tokens = torch.cat([self.enter(views), text if text.dim() == 3 else text[:, None]], dim=1)
        attended = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.norm(tokens + attended)[:, :views.shape[1]]


class ConcatLFF(nn.Module):
    """Variant 5, without LFF: every viewport vector with the text beside it, (B, V, D_v + D_t); no parameters."""

    def __init__(self, view_dim: int, text_dim: int) -> None:
        super().__init__()
        self.out_dim = view_dim + text_dim

    def forward(self, views: Tensor, text: Tensor) -> Tensor:
        return torch.cat([views, of_viewports(text, views.shape[1])], dim=2)
