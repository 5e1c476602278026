"""GFF: fuse text with the panorama's features at three scales (Bi-LSTM, self- and cross-attention)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def head_count(width: int, wanted: int) -> int:
    """Return the largest number of attention heads up to `wanted` that divides `width`."""
    return max(heads for heads in range(1, wanted + 1) if width % heads == 0)


class BiLSTM(nn.Module):
    """A bidirectional LSTM that keeps its input width: (B, T, C) -> (B, T, C), C even; padding is never read.

    mask: (B, T), true on a row's first tokens; what lies behind them comes out as zeros. The way back is a second LSTM
    over each row reversed within its own length: the same as packed sequences, several times faster on a CPU.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"a bidirectional LSTM needs an even width, got {width}")
        self.there = nn.LSTM(width, width // 2, batch_first=True)
        self.back = nn.LSTM(width, width // 2, batch_first=True)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return torch.cat([self.there(tokens)[0], self.back(tokens.flip(1))[0].flip(1)], dim=2)
        lengths = mask.sum(dim=1, keepdim=True)
        place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(mask)
        mirror = torch.where(place < lengths, lengths - 1 - place, place)[..., None]
        back = self.back(tokens.gather(1, mirror.expand_as(tokens)))[0]
        both = torch.cat([self.there(tokens)[0], back.gather(1, mirror.expand_as(back))], dim=2)
        return both * mask[..., None]


class GlobalLevel(nn.Module):
    """One scale of GFF: visual tokens (B, T, C_in) and text tokens (B, S, D) -> (B, T, C).

    Text is projected to the scale's width; a Bi-LSTM then self-attention run over the visual tokens (row-major over
    the panorama), a Bi-LSTM over the text, then multi-head cross-attention from vision (queries) to text.
    Not given by the paper: residual connections with layer norm around both attentions; dropout; a linear map to
    `width` where that differs from the features' own width (the paper keeps the stage's width).
    """

    def __init__(self, visual_dim: int, width: int, text_dim: int | None, heads: int, dropout: float) -> None:
        super().__init__()
        heads = head_count(width, heads)
        self.enter = nn.Identity() if visual_dim == width else nn.Linear(visual_dim, width)
        self.visual_lstm = BiLSTM(width)
        self.self_attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.self_norm = nn.LayerNorm(width)
        self.with_text = text_dim is not None
        if self.with_text:
            self.project_text = nn.Linear(text_dim, width)
            self.text_lstm = BiLSTM(width)
            self.cross_attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
            self.cross_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, visual: Tensor, text: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return the visual tokens after they attended to each other and to the text."""
        visual = self.visual_lstm(self.enter(visual))
        attended = self.self_attention(visual, visual, visual, need_weights=False)[0]
        visual = self.self_norm(visual + self.dropout(attended))
        if not self.with_text:
            return visual
        words = self.text_lstm(self.project_text(text), mask)
        # One text has no padding; being told so, torch would import a symbolic algebra for its checks.
        padding = None if len(mask) == 1 and bool(mask.all()) else ~mask
        attended = self.cross_attention(visual, words, words, key_padding_mask=padding, need_weights=False)[0]
        return self.cross_norm(visual + self.dropout(attended))


class GFF(nn.Module):
    """Global feature fusion: three levels, each concatenated to those before it.

    levels: f2, f3, f4, each (B, T, C_l) on one grid; text: (B, S, D) with mask (B, S), true on words.
    Returns F_G3 (B, T, W2 + W3 + W4): 192 + 384 + 768 = 1344 with VMamba-T and the paper's widths. The paper gives
    the widths of the concatenation; keeping one vector per grid cell, so that AFM can attend to them, is our reading.
    """

    def __init__(self, level_dims: tuple[int, ...], widths: tuple[int, ...], text_dim: int | None, heads: int,
                 dropout: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(GlobalLevel(c, w, text_dim, heads, dropout)
                                    for c, w in zip(level_dims, widths, strict=True))
        self.out_dim = sum(widths)

    def forward(self, levels: list[Tensor], text: Tensor | None, mask: Tensor | None) -> Tensor:
        fused = levels[0].new_zeros(*levels[0].shape[:2], 0)
        for module, features in zip(self.levels, levels, strict=True):
            fused = torch.cat([fused, module(features, text, mask)], dim=2)
        return fused
