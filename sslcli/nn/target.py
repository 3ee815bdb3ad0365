"""Target networks: copies that follow a network by an exponential moving average.

Parameters are averaged and buffers are not, as all official codes have it: a target's BatchNorm
keeps the statistics of its own passes (facebookresearch/moco, issue 70). Update a target in
`after_step`. That is where BYOL and DINO do it; MoCo does it before the pass of the keys of the
next step, between which no weight moves.
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def target_of(online: ModuleT) -> ModuleT:
    """Return a copy of a network that no optimiser moves: its parameters take no gradient."""
    return copy.deepcopy(online).requires_grad_(False)


@torch.no_grad()
def average(mean: nn.Module, online: nn.Module, momentum: float) -> None:
    """Move a network that never runs in training to the average of another, buffers too.

    As timm's ModelEmaV3: running statistics are averaged as weights are, counters copied.

    Args:
        mean: Made by `target_of`.
        online: The network that it averages.
        momentum: As in `follow`.
    """
    follow(mean, online, momentum)
    for own, other in zip(mean.buffers(), online.buffers(), strict=True):
        if own.is_floating_point():
            own.lerp_(other, 1 - momentum)
        else:
            own.copy_(other)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Move a target's parameters to momentum * target + (1 - momentum) * online, in place.

    Args:
        target: Made by `target_of`.
        online: The network it follows, with the same parameters.
        momentum: From 0, a copy, to 1, no change.

    Raises:
        ValueError: If `momentum` is outside [0, 1].
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"a momentum lies in [0, 1], got {momentum}")
    theirs: list[Tensor] = list(target.parameters())
    own: list[Tensor] = list(online.parameters())
    torch._foreach_lerp_(theirs, own, 1 - momentum)
