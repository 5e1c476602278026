"""What the small ViT and VMamba look through: the first three stages of a Lite0, which stay as their teacher has them.

Convolutions before a transformer are an old cure for slow learning (Xiao et al., 2021). These have learnt from photographs, and
then from 9,000 distorted views, what distortions look like from near; what the two networks make of it is their own.
"""

from __future__ import annotations

from torch import Tensor, nn

from mmifn.encoders.efficientnet_lite import STAGES, Lite0

CHANNELS, STRIDE = STAGES[2][3], 8


class ConvStem(Lite0):
    """Normalised images (B, 3, H, W) -> (B, CHANNELS, H / STRIDE, W / STRIDE). Its norms never take up what they see."""

    def __init__(self) -> None:
        super().__init__(STAGES[:3])

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Return the last of the stages' maps."""
        return super().forward(images)[-1]

    def train(self, mode: bool = True) -> ConvStem:
        """Stay in evaluation, whatever the mode of the network around it."""
        return super().train(False)

    def take_from(self, teacher: nn.Module) -> None:
        """Take the weights of the Lite0 in a teacher, and keep them from being trained."""
        lite0 = next(module for module in teacher.modules() if isinstance(module, Lite0))
        given = lite0.state_dict()
        self.load_state_dict({key: given[key] for key in self.state_dict()})
        self.requires_grad_(False)


def stem_of(network: nn.Module) -> ConvStem:
    """Return the stem of a network that has one."""
    return next(module for module in network.modules() if isinstance(module, ConvStem))
