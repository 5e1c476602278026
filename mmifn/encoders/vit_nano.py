"""A small ViT for images of any size, whose first steps are convolutions (Xiao et al., 2021).

Four convolutions of stride 2 make a token of every 16 x 16 pixels: what distortions look like is fine, and attention over
single pixels would cost too much. Positions are sines and cosines (Vaswani et al., 2017), so no size is special.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEM = (24, 48, 96)
WIDTH = 192
HEADS = 6
LAYERS = 4
MLP_RATIO = 3
TAPS = (0, 2, 4)  # layers after which tokens are given as maps; 0 is the stem
STRIDE = 16


class _ConvStep(nn.Module):
    """Convolution of stride 2, LayerNorm over channels, GELU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(self.norm(self.conv(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def positions(rows: int, columns: int, width: int = WIDTH) -> Tensor:
    """Return (rows * columns, width): sines and cosines of the row in the first half, of the column in the second."""
    frequencies = 10000.0 ** -(torch.arange(width // 4) / (width // 4))

    def code(count: int) -> Tensor:
        angles = torch.arange(count)[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    return torch.cat([code(rows)[:, None].expand(rows, columns, -1), code(columns)[None].expand(rows, columns, -1)],
                     dim=2).reshape(rows * columns, width)


class ViTNano(nn.Module):
    """Images (B, 3, H, W), sides of STRIDE or more -> maps (B, WIDTH, ⌈H/16⌉, ⌈W/16⌉), one for each of TAPS."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, *STEM)
        self.stem = nn.Sequential(*(_ConvStep(a, b) for a, b in zip(sizes, STEM, strict=False)),
                                  nn.Conv2d(STEM[-1], WIDTH, 3, stride=2, padding=1))
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, HEADS, MLP_RATIO * WIDTH, dropout=0.0, activation="gelu",
                                                               batch_first=True, norm_first=True) for _ in range(LAYERS))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        rows, columns = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        states = [tokens]
        tokens = tokens + positions(rows, columns).to(tokens)
        for layer in self.layers:
            tokens = layer(tokens)
            states.append(tokens)
        return [states[tap].transpose(1, 2).unflatten(2, (rows, columns)) for tap in TAPS]
