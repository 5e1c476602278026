"""VMamba: a hierarchical image encoder of selective-scan blocks, with the official state-dict keys."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from mmifn.encoders.vmamba.blocks import ToChannelsFirst, VSSBlock, downsample, layer_norm, patch_embed
from mmifn.encoders.vmamba.config import CLASSES, VARIANTS, VMambaConfig, variant_name


def _stage(index: int, config: VMambaConfig, rates: list[float]) -> nn.Sequential:
    dim = config.dims[index]
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["blocks"] = nn.Sequential(*(VSSBlock(dim, config, rate) for rate in rates))
    if index + 1 < len(config.dims):
        parts["downsample"] = downsample(dim, config.dims[index + 1], config)
    return nn.Sequential(parts)


class VMamba(nn.Module):
    """VMamba (Liu et al., 2024) of any size; drop path acts in training mode only.

    Input (B, 3, H, W) of any H, W >= 4; official weights want it normalised with the ImageNet statistics.
    """

    def __init__(self, config: VMambaConfig, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = patch_embed(config)
        total = sum(config.depths)
        rates = iter([config.drop_path * i / max(1, total - 1) for i in range(total)])
        stages = ([next(rates) for _ in range(depth)] for depth in config.depths)
        self.layers = nn.ModuleList(_stage(i, config, stage) for i, stage in enumerate(stages))
        dim = config.dims[-1]
        self.classifier = nn.Sequential(OrderedDict(
            norm=layer_norm(dim), permute=ToChannelsFirst(), avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(1), head=nn.Linear(dim, num_classes)))
        self.apply(_initialise)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Return each stage's map before its downsampling: (B, 3, H, W) -> [(B, dims[i], h_i, w_i), ...].

        The strides are 4, 8, 16, 32; sizes are rounded up (the vanilla stem rounds down). The maps are views
        of channels-last memory.
        """
        return [x.permute(0, 3, 1, 2) for x in self._stages(x)]

    def _stages(self, x: Tensor) -> list[Tensor]:
        maps = []
        x = self.patch_embed(x)
        for stage in self.layers:
            maps.append(stage.blocks(x))
            x = stage.downsample(maps[-1]) if hasattr(stage, "downsample") else maps[-1]
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits: (B, 3, H, W) -> (B, num_classes)."""
        return self.classifier(self._stages(x)[-1])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build_vmamba(variant: str, num_classes: int = CLASSES) -> VMamba:
    """Return a published variant with random weights, in training mode.

    variant: a name of VARIANTS, a label such as "T s1l8", or the name of a release file. The state-dict keys
    and shapes are the official ones. Raises UserError for any other name.
    """
    return VMamba(VARIANTS[variant_name(variant)].config, num_classes)
