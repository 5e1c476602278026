"""EfficientNet-Lite0 and -Lite2 in plain torch, as pyramids of five maps at strides 2, 4, 8, 16 and 32.

The network of Tan and Le (ICML 2019) without squeeze-and-excitation and with ReLU6, as its Lite variants have it; padded as
TensorFlow pads, where it was trained. Tensors are named as timm names them, so that weights and their hash are those of
`tf_efficientnet_lite0` there, whose import alone takes longer than a panorama's views.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_weights, parametrize

from mmifn.encoders.packed import PackedConvolution, packed

STEM, EPSILON = 32, 1e-3
# Of every stage: kernel and stride of its depthwise convolutions, expansion, channels, blocks.
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
          (3, 1, 6, 320, 1))
LITE2 = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 3), (5, 2, 6, 48, 3), (3, 2, 6, 88, 4), (5, 1, 6, 120, 4), (5, 2, 6, 208, 5),
         (3, 1, 6, 352, 1))  # 1.1 times as wide, 1.2 times as deep; first and last stage are as deep
LAST_OF_STRIDE = (0, 1, 2, 4, 6)  # the stages whose maps are given
# What follows the pyramid in published weights: the tensors of the classifier, in their order.
CLASSIFIER = ((1280, 320, 1, 1), (1280,), (1280,), (1280,), (1280,), (), (1000, 1280), (1000,))


class _Convolution(nn.Conv2d):
    """Without bias; where it strides, an odd row or column of padding lies below or right, as in TensorFlow.

    packed: stands for it once it is frozen (`fold_norms`), with what is behind it.
    """

    packed: PackedConvolution | None = None

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride, 0 if stride > 1 else kernel // 2, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        if self.stride[0] > 1:
            (kernel, _), (stride, _) = self.kernel_size, self.stride
            across, down = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (maps.shape[3], maps.shape[2]))
            maps = functional.pad(maps, [across // 2, across - across // 2, down // 2, down - down // 2])
        return self.packed(maps) if self.packed else super().forward(maps)


class _Norm(nn.BatchNorm2d):
    """Batch norm, with ReLU6 after it unless it ends a block."""

    def __init__(self, channels: int, ends: bool = False) -> None:
        super().__init__(channels, EPSILON)
        self.ends = ends

    def forward(self, maps: Tensor) -> Tensor:
        maps = super().forward(maps)
        return maps if self.ends else functional.relu6(maps, inplace=True)


class _Separable(nn.Module):
    """The first block: a depthwise convolution and a pointwise one, no expansion and no way past them."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = _Convolution(channels, channels, kernel, stride, channels), _Norm(channels)
        self.conv_pw, self.bn2 = _Convolution(channels, out, 1), _Norm(out, ends=True)

    def forward(self, maps: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(self.bn1(self.conv_dw(maps))))


class _Inverted(nn.Module):
    """Expand, convolve depthwise, reduce; what came in is added where it has the same shape."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.conv_pw, self.bn1 = _Convolution(channels, wide, 1), _Norm(wide)
        self.conv_dw, self.bn2 = _Convolution(wide, wide, kernel, stride, wide), _Norm(wide)
        self.conv_pwl, self.bn3 = _Convolution(wide, out, 1), _Norm(out, ends=True)
        self.adds = stride == 1 and channels == out

    def forward(self, maps: Tensor) -> Tensor:
        made = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(self.bn1(self.conv_pw(maps))))))
        return made + maps if self.adds else made


class Lite0(nn.Module):
    """Normalised images (B, 3, H, W) -> maps (B, C, H / s, W / s) for s = 2, 4, 8, 16, 32 and C = 16, 24, 40, 112, 320.

    stages: LITE2 makes a Lite2 of it, whose C are 16, 24, 48, 120, 352.
    """

    def __init__(self, stages: Sequence[tuple[int, int, int, int, int]] = STAGES) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = _Convolution(3, STEM, 3, 2), _Norm(STEM)
        made, channels = [], STEM
        for kernel, stride, expansion, out, count in stages:
            blocks: list[nn.Module] = []
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(_Separable(channels, out, kernel, step) if expansion == 1 else
                              _Inverted(channels, out, kernel, step, expansion))
                channels = out
            made.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*made)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, pyramid = self.bn1(self.conv_stem(images)), []
        for number, stage in enumerate(self.blocks):
            maps = stage(maps)
            if number in LAST_OF_STRIDE:
                pyramid.append(maps)
        return pyramid


def fold_norms(network: nn.Module) -> None:
    """Let every convolution of the Lite0 in a frozen network do the work of the batch norm behind it, and on CPUs clip as well.

    It takes half of the time. Features stay the same within rounding; names and hash of the weights do not, and packed weights
    stay on their device, so that this comes last. What a tuning put beside a weight (parametrizations) stays as it is.
    """
    for block in [module for module in network.modules() if isinstance(module, Lite0 | _Separable | _Inverted)]:
        for (_, convolution), (name, norm) in pairwise([*block.named_children()]):
            if isinstance(convolution, _Convolution) and isinstance(norm, _Norm) and not parametrize.is_parametrized(convolution):
                convolution.weight, convolution.bias = fuse_conv_bn_weights(
                    convolution.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
                convolution.packed = packed(convolution, clips=not norm.ends)
                setattr(block, name, nn.Identity() if norm.ends or convolution.packed else nn.ReLU6(inplace=True))
