"""Pool feature maps to vectors and small grids, keeping second-order statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from mmifn.sphere import latitude_weights

_VARIANCE_FLOOR = 1e-10  # keeps the square root's slope finite where a map is flat


def mean_std(maps: Tensor) -> Tensor:
    """Return mean and standard deviation over the pixels of maps (B, C, H, W): (B, 2C)."""
    pixels = maps.float().permute(0, 2, 3, 1).flatten(1, 2)  # (B, H W, C): of channels-last maps a view, and a fifth of the time
    mean = pixels.mean(dim=1)
    variance = (pixels - mean[:, None]).square().mean(dim=1)
    return torch.cat([mean, (variance + _VARIANCE_FLOOR).sqrt()], dim=1)


def pool_erp_grid(maps: Tensor, grid: tuple[int, int], with_std: bool = False) -> Tensor:
    """Pool ERP feature maps to a grid, every pixel weighted by the area it has on the sphere.

    maps: (B, C, H, W), rows from +90° to -90°; grid: rows, columns (at most H, W). Weights are cos(latitude) of the
    row centres. Returns (B, T, C) float32, or (B, T, 2C) with standard deviations, T row-major from the top left.
    """
    b, c, h, w = maps.shape
    rows, columns = grid
    if rows > h or columns > w:
        raise ValueError(f"a map of {h}x{w} cannot be pooled to {rows}x{columns}")
    across = _pool_matrix(torch.ones(w, dtype=torch.float64), columns).to(maps.device)
    down = _pool_matrix(latitude_weights(h), rows).to(maps.device)

    def pool(values: Tensor) -> Tensor:
        return (down @ values.double() @ across.T).reshape(b, c, -1).transpose(1, 2)

    mean = pool(maps)
    if not with_std:
        return mean.float()
    variance = (pool(maps.double() ** 2) - mean ** 2).clamp_min(0)
    return torch.cat([mean, (variance + _VARIANCE_FLOOR).sqrt()], dim=2).float()


def _pool_matrix(weights: Tensor, cells: int) -> Tensor:
    """Return the (cells, n) matrix of weighted averages over `cells` equal, possibly fractional, stretches."""
    n = len(weights)
    edges = torch.arange(cells + 1, dtype=torch.float64) * n / cells
    pixel = torch.arange(n, dtype=torch.float64)
    cover = (torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)).clamp(0, 1)
    cover = cover * weights
    return cover / cover.sum(dim=1, keepdim=True)
