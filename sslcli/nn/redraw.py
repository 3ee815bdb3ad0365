"""Draw a network anew without knowing how its layers are initialised."""

import copy
from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@torch.no_grad()
def redrawn(network: ModuleT) -> ModuleT:
    """Return a copy with the entries of each trainable tensor in a random order of their own.

    Initialisers draw all entries of a tensor alike, so that any order of them is as likely as any
    other; what they set to one constant, such as the scales of BatchNorm, stays. Fixed tables of
    positions take no gradient and stay too. A trained network would lose what it has learned.

    Args:
        network: Freshly initialised.
    """
    drawn = copy.deepcopy(network)
    for parameter in drawn.parameters():
        if parameter.requires_grad:
            order = torch.randperm(parameter.numel(), device=parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return drawn
