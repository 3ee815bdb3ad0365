"""Draw new random weights for a network without knowing how its layers are initialised."""

import copy
from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@torch.no_grad()
def redrawn(network: ModuleT) -> ModuleT:
    """Return a copy with the entries of each trainable tensor in random order.

    Initialisers draw all entries of a tensor from one distribution, so every order of them is
    equally likely. Constant tensors, such as the scales of BatchNorm, stay the same, and so do
    fixed tables of positions, which take no gradient. A trained network would lose its weights.

    Args:
        network: Freshly initialised.
    """
    drawn = copy.deepcopy(network)
    for parameter in drawn.parameters():
        if parameter.requires_grad:
            order = torch.randperm(parameter.numel(), device=parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return drawn
