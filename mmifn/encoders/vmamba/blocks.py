"""The layers of VMamba: 2-D selective scan, block, patch embedding and downsampling, on (B, H, W, C) maps.

Module and parameter names are those of the official checkpoints. Source: VMamba (Liu et al., 2024), forms
`v05_noz` (v2 models) and `v0` (vanilla models).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmifn.encoders.vmamba.config import VMambaConfig
from mmifn.encoders.vmamba.scan import cross_scan

LAYER_NORM_EPS = 1e-5
DIRECTIONS = 4
DT_RANGE = (1e-3, 0.1)  # time steps at initialisation, log-uniform (Mamba, Gu and Dao, 2023)
DT_FLOOR = 1e-4


class ToChannelsLast(nn.Module):
    """View (B, C, H, W) as (B, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a view."""
        return x.permute(0, 2, 3, 1)


class ToChannelsFirst(nn.Module):
    """View (B, H, W, C) as (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a view."""
        return x.permute(0, 3, 1, 2)


def layer_norm(dim: int) -> nn.LayerNorm:
    """Return a LayerNorm over the last dimension with VMamba's eps."""
    return nn.LayerNorm(dim, eps=LAYER_NORM_EPS)


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a sample's branch with probability `rate`, scale up the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, ...) -> the same shape; the identity in eval mode."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = torch.empty(len(x), *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * mask.div_(keep)


class SS2D(nn.Module):
    """Scan a map in four directions with input-dependent steps: (B, H, W, C) -> (B, H, W, C).

    `vanilla` adds the SiLU gate and the convolution's bias of the first models.
    """

    def __init__(self, dim: int, config: VMambaConfig) -> None:
        super().__init__()
        inner, rank, n = int(config.ssm_ratio * dim), config.rank(dim), config.d_state
        self.rank, self.gated = rank, config.vanilla
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, rank + 2 * n, inner))
        self.A_logs = nn.Parameter(torch.empty(DIRECTIONS * inner, n))
        self.Ds = nn.Parameter(torch.empty(DIRECTIONS * inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        self.out_norm = layer_norm(inner)
        self.in_proj = nn.Linear(dim, 2 * inner if self.gated else inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=config.vanilla)
        self.out_proj = nn.Linear(inner, dim, bias=False)
        self.reset_scan_parameters()

    @torch.no_grad()
    def reset_scan_parameters(self) -> None:
        """Draw the scan's parameters as Mamba does: A = -1..-N, D = 1, steps log-uniform in DT_RANGE."""
        inner, n = len(self.out_norm.weight), self.A_logs.shape[1]
        self.x_proj_weight.uniform_(-(inner**-0.5), inner**-0.5)
        self.dt_projs_weight.uniform_(-(self.rank**-0.5), self.rank**-0.5)
        low, high = (math.log(value) for value in DT_RANGE)
        dt = torch.empty_like(self.dt_projs_bias).uniform_(low, high).exp_().clamp_(min=DT_FLOOR)
        self.dt_projs_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
        self.A_logs.copy_(torch.arange(1, n + 1).log().expand_as(self.A_logs))
        self.Ds.fill_(1)

    def scan(self, x: Tensor) -> Tensor:
        """Project every pixel once for all directions and scan: (B, H, W, D) -> (B, H, W, D)."""
        d = x.shape[-1]
        proj = F.linear(x, self.x_proj_weight.flatten(0, 1)).unflatten(-1, (DIRECTIONS, -1))
        wide = torch.promote_types(self.A_logs.dtype, torch.float32)
        decay = -self.A_logs.to(wide).exp().view(DIRECTIONS, d, -1).transpose(1, 2)
        skip = self.Ds.view(DIRECTIONS, d).sum(0)
        return cross_scan(x, proj, self.dt_projs_weight, self.dt_projs_bias, decay, skip)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, H, W, C) -> (B, H, W, C)."""
        x = self.in_proj(x)
        if self.gated:
            x, gate = x.chunk(2, dim=-1)
        x = F.silu(self.conv2d(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        y = self.out_norm(self.scan(x).to(self.out_norm.weight.dtype))
        if self.gated:
            y = y * F.silu(gate)
        return self.out_proj(y)


class Mlp(nn.Module):
    """Linear, exact (erf) GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., C) -> (..., C)."""
        return self.fc2(F.gelu(self.fc1(x)))


class VSSBlock(nn.Module):
    """x + SS2D(LN(x)), then x + MLP(LN(x)) (no MLP in vanilla models): (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, dim: int, config: VMambaConfig, drop_path: float) -> None:
        super().__init__()
        self.norm = layer_norm(dim)
        self.op = SS2D(dim, config)
        self.drop_path = DropPath(drop_path)
        if not config.vanilla:
            self.norm2 = layer_norm(dim)
            self.mlp = Mlp(dim, int(config.mlp_ratio * dim))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, H, W, C) -> (B, H, W, C)."""
        x = x + self.drop_path(self.op(self.norm(x)))
        if hasattr(self, "mlp"):
            x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


class PatchMerging(nn.Module):
    """Vanilla downsampling: 2x2 pixels as channels, LN, linear; (B, H, W, C) -> (B, ⌈H/2⌉, ⌈W/2⌉, out)."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, out, bias=False)
        self.norm = layer_norm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Odd sizes are padded with zeros below and to the right."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


def patch_embed(config: VMambaConfig) -> nn.Sequential:
    """Return the stem, (B, 3, H, W) -> (B, H/4, W/4, C): two strided convolutions; vanilla: 4x4 patches."""
    dim, channels = config.dims[0], config.in_channels
    if config.vanilla:
        return nn.Sequential(nn.Conv2d(channels, dim, 4, stride=4), ToChannelsLast(), layer_norm(dim))
    return nn.Sequential(
        nn.Conv2d(channels, dim // 2, 3, stride=2, padding=1), ToChannelsLast(), layer_norm(dim // 2),
        ToChannelsFirst(), nn.GELU(),
        nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1), ToChannelsLast(), layer_norm(dim))


def downsample(dim: int, out: int, config: VMambaConfig) -> nn.Module:
    """Return what halves a map between stages: (B, H, W, C) -> (B, ⌈H/2⌉, ⌈W/2⌉, out)."""
    if config.vanilla:
        return PatchMerging(dim, out)
    return nn.Sequential(ToChannelsFirst(), nn.Conv2d(dim, out, 3, stride=2, padding=1), ToChannelsLast(),
                         layer_norm(out))
