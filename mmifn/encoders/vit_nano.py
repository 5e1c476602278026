"""A small ViT for images of any size that looks through a convolutional stem.

The stem and one convolution of stride 2 make a token of every 16 x 16 pixels: what distortions look like is fine, and attention
over single pixels would cost too much. Positions are sines and cosines (Vaswani et al., 2017), so no size is special.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmifn.encoders.conv_stem import CHANNELS, ConvStem

WIDTH = 192
HEADS = 6
LAYERS = 4
MLP_RATIO = 3
TAPS = (2, 4)  # layers after which tokens are given as maps
MAPS = (CHANNELS, WIDTH, WIDTH)  # channels of the stem's map and of those
STRIDE = 16


def positions(rows: int, columns: int, width: int = WIDTH) -> Tensor:
    """Return (rows * columns, width): sines and cosines of the row in the first half, of the column in the second."""
    frequencies = 10000.0 ** -(torch.arange(width // 4) / (width // 4))

    def code(count: int) -> Tensor:
        angles = torch.arange(count)[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    return torch.cat([code(rows)[:, None].expand(rows, columns, -1), code(columns)[None].expand(rows, columns, -1)],
                     dim=2).reshape(rows * columns, width)


class ViTNano(nn.Module):
    """Images (B, 3, H, W), sides of STRIDE or more -> maps of MAPS channels: the stem's (⌈H/8⌉, ⌈W/8⌉), and
    (⌈H/16⌉, ⌈W/16⌉) for each of TAPS."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvStem()
        self.enter = nn.Conv2d(CHANNELS, WIDTH, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, HEADS, MLP_RATIO * WIDTH, dropout=0.0, activation="gelu",
                                                               batch_first=True, norm_first=True) for _ in range(LAYERS))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images; see the class."""
        maps = [self.stem(images)]
        x = self.enter(maps[0])
        rows, columns = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + positions(rows, columns).to(tokens)
        for number, layer in enumerate(self.layers, start=1):
            tokens = layer(tokens)
            if number in TAPS:
                maps.append(tokens.transpose(1, 2).unflatten(2, (rows, columns)))
        return maps
