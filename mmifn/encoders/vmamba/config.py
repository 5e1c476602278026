"""The nine published VMamba variants, and the configuration of any other.

Source: VMamba (Liu et al., 2024), release tables of MzeroMiko/VMamba (MIT), commit 2ed52ea.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mmifn.core.errors import UserError

RELEASE_URL = "https://github.com/MzeroMiko/VMamba/releases/download"
CLASSES = 1000  # of every published network


@dataclass(frozen=True)
class VMambaConfig:
    """Everything that shapes a VMamba, except its number of classes.

    dims, depths: channels and blocks of each stage; ssm_ratio: width of the scan over that of the stage;
    d_state: state size N; dt_rank: R, None for ceil(C/16); drop_path: rate of the last block (first: 0).
    vanilla: the first design: SiLU gate, no MLP, 4x4 patches, patch merging, convolution with bias.
    Raises UserError where a value cannot describe a network.
    """

    dims: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (2, 2, 8, 2)
    ssm_ratio: float = 1.0
    d_state: int = 1
    dt_rank: int | None = None
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    in_channels: int = 3
    vanilla: bool = False

    def __post_init__(self) -> None:
        rules = {
            "dims and depths must be of one length, at least 1": len(self.dims) == len(self.depths) >= 1,
            "dims must be positive and dims[0] even": min(self.dims, default=0) > 0 and self.dims[0] % 2 == 0,
            "depths must be positive": min(self.depths, default=0) > 0,
            "d_state must be positive": self.d_state > 0,
            "ssm_ratio and mlp_ratio must be positive": self.ssm_ratio > 0 and self.mlp_ratio > 0,
            "drop_path must be in [0, 1)": 0 <= self.drop_path < 1,
            "dt_rank must be positive or None": self.dt_rank is None or self.dt_rank > 0,
            "in_channels must be positive": self.in_channels > 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise UserError(f"VMambaConfig: {'; '.join(broken)}. Found: {self}")

    def rank(self, dim: int) -> int:
        """Return R, the width of the time-step projection of a stage of `dim` channels."""
        return self.dt_rank if self.dt_rank is not None else math.ceil(dim / 16)

    @property
    def stride(self) -> int:
        """Pixels of the image per pixel of the last stage, along one side."""
        return 4 * 2 ** (len(self.dims) - 1)


@dataclass(frozen=True)
class Variant:
    """A published network: its configuration, release file, and number of parameters with CLASSES classes."""

    config: VMambaConfig
    url: str
    parameters: int
    aliases: tuple[str, ...]

    @property
    def filename(self) -> str:
        """Name of the checkpoint file on the release page."""
        return self.url.rsplit("/", 1)[-1]


def _v2(label: str, file: str, parameters: int, dim: int, third: int, ratio: float, drop: float) -> Variant:
    config = VMambaConfig(_dims(dim), (2, 2, third, 2), ratio, drop_path=drop)
    return Variant(config, f"{RELEASE_URL}/%23v2cls/{file}", parameters, (label, file.split("_ckpt_")[0]))


def _vanilla(label: str, file: str, parameters: int, dim: int, third: int, drop: float) -> Variant:
    config = VMambaConfig(_dims(dim), (2, 2, third, 2), 2.0, 16, drop_path=drop, vanilla=True)
    stem = file.split("_ckpt_")[0]
    return Variant(config, f"{RELEASE_URL}/%23v0cls/{file}", parameters, (label, stem, f"{stem}_v0"))


def _dims(dim: int) -> tuple[int, ...]:
    return tuple(dim * 2**i for i in range(4))


DEFAULT_VARIANT = "vmamba_tiny_s1l8"
VARIANTS: dict[str, Variant] = {
    "vmamba_tiny_s1l8":
        _v2("T s1l8", "vssm1_tiny_0230s_ckpt_epoch_264.pth", 30_249_064, 96, 8, 1.0, 0.2),
    "vmamba_tiny_s2l5":
        _v2("T s2l5", "vssm_tiny_0230_ckpt_epoch_262.pth", 30_705_832, 96, 5, 2.0, 0.2),
    "vmamba_small_s2l15":
        _v2("S s2l15", "vssm_small_0229_ckpt_epoch_222.pth", 50_147_752, 96, 15, 2.0, 0.3),
    "vmamba_base_s2l15":
        _v2("B s2l15", "vssm_base_0229_ckpt_epoch_237.pth", 88_557_800, 128, 15, 2.0, 0.6),
    "vmamba_small_s1l20":
        _v2("S s1l20", "vssm1_small_0229s_ckpt_epoch_240.pth", 49_012_840, 96, 20, 1.0, 0.3),
    "vmamba_base_s1l20":
        _v2("B s1l20", "vssm1_base_0229s_ckpt_epoch_225.pth", 86_614_504, 128, 20, 1.0, 0.5),
    "vanilla_vmamba_tiny":
        _vanilla("Vanilla T", "vssmtiny_dp01_ckpt_epoch_292.pth", 22_893_448, 96, 9, 0.2),
    "vanilla_vmamba_small":
        _vanilla("Vanilla S", "vssmsmall_dp03_ckpt_epoch_238.pth", 44_417_416, 96, 27, 0.3),
    "vanilla_vmamba_base":
        _vanilla("Vanilla B", "vssmbase_dp06_ckpt_epoch_241.pth", 76_254_056, 128, 27, 0.6),
}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


_NAMES = {_plain(alias): name for name, variant in VARIANTS.items()
          for alias in (name, *variant.aliases, variant.filename, variant.filename.removesuffix(".pth"))}


def variant_name(name: str) -> str:
    """Return the canonical name of a variant given by that name, its label ("T s1l8") or its release file.

    Raises UserError, listing the nine names, for any other.
    """
    variant = _NAMES.get(_plain(name))
    if variant is None:
        known = "\n".join(f"  {key:22} {value.aliases[0]}" for key, value in VARIANTS.items())
        raise UserError(f"no VMamba variant is called {name!r}; there are:\n{known}")
    return variant
