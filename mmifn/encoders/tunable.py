"""Which parameters of a network are tuned: low-rank updates beside its matrices (LoRA), its last blocks, or all of it.

The weights that a network was loaded with stay where they are; what is tuned is told by name and can be put in place again in
a network that was loaded anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmifn.core.errors import ArtefactError, UserError, listed
from mmifn.encoders.extent import LORA, WISHES, blocks_wished

_STRENGTH = 2.0  # of the low-rank update: alpha over rank, as LoRA is mostly used


class LowRank(nn.Module):
    """W + s B A beside a fixed matrix W (LoRA, Hu et al. 2022, Eq. 3); B starts at zero, so that nothing changes at first.

    A convolution's kernel (out, in, k, k) counts as a matrix (out, in k k).
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        self.a = nn.Parameter(torch.empty(rank, columns, device=weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (_STRENGTH * (self.b @ self.a)).view_as(weight)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Return the blocks that a network is built of, in their order: composite modules that stand in a list or a sequence."""

    def walk(module: nn.Module, listed_here: bool) -> Iterator[nn.Module]:
        for child in module.children():
            if isinstance(child, (nn.ModuleList, nn.Sequential)):
                yield from walk(child, True)
            elif next(child.children(), None) is not None:
                if listed_here:
                    yield child
                else:
                    yield from walk(child, False)

    return list(walk(network, False))


def make_tunable(network: nn.Module, name: str, what: str, rank: int) -> None:
    """Let gradients reach the parameters that `what` names, and no others; with "lora" these are new ones.

    name: of the network, for a refusal. Normalisation by running means and everything random stay as in evaluation.
    """
    network.requires_grad_(False).eval()
    count = blocks_wished(what)
    if what == LORA:
        _add_low_rank(network, name, rank)
    elif count is None:
        network.requires_grad_(True)
    else:
        blocks = blocks_of(network)
        if count > len(blocks):
            raise UserError(f"--tune-encoders {what}: {name} has {len(blocks)} blocks; {WISHES}")
        first = next(blocks[-count].parameters())
        reached = False
        for value in network.parameters():  # in the order in which the network was built: the block and what lies behind it
            reached = reached or value is first
            value.requires_grad_(reached)


def _add_low_rank(network: nn.Module, name: str, rank: int) -> None:
    matrices = [module for module in network.modules()
                if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)]
    fitting = [module for module in matrices if min(len(module.weight), module.weight[0].numel()) > rank]
    if not fitting:
        raise UserError(f"--tune-encoders {LORA}: no matrix of {name} is larger than --lora-rank {rank}")
    for module in fitting:
        parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))


def leave_idle(network: nn.Module, run: Callable[[], list[Tensor]]) -> None:
    """Take the parameters on which no output of run() depends (unused heads) out of the tuning."""
    network.zero_grad(set_to_none=True)
    sum(value.float().sum() for value in run()).backward()
    for value in network.parameters():
        if value.grad is None:
            value.requires_grad_(False)
    network.zero_grad(set_to_none=True)


def tuned_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the tuned parameters by name, copied to the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.named_parameters() if value.requires_grad}


@torch.no_grad()
def put_in_place(network: nn.Module, name: str, state: Mapping[str, Tensor]) -> None:
    """Put tuned parameters into a network that make_tunable was called on. Raises ArtefactError where they do not fit it."""
    there = dict(network.named_parameters())
    wrong = [f"{key}: not part of the network" for key in state if key not in there]
    wrong += [f"{key}: file {tuple(value.shape)}, network {tuple(there[key].shape)}" for key, value in state.items()
              if key in there and there[key].shape != value.shape]
    if wrong:
        raise ArtefactError(f"the tuned weights do not fit {name}:\n{listed(wrong)}")
    for key, value in state.items():
        there[key].copy_(value)
