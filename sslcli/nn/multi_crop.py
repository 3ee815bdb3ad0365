"""Run views of different sizes through one network."""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor


def embed_views(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Return the network's output of each view; neighbours of one size run as one batch.

    Multi-crop training (Caron et al. 2020, arXiv:2006.09882, section 3.2) sees two large crops and
    several small ones. A BatchNorm then takes its statistics over all views of one size, as in the
    official codes of SwAV and DINO.

    Args:
        network: Maps [N, 3, S, S] to [N, D], for every size S of the views.
        views: Each [B, 3, S, S].

    Returns:
        One tensor a view, [B, D].
    """
    outputs: list[Tensor] = []
    for _, group in groupby(views, key=lambda view: view.shape[-1]):
        alike = list(group)
        outputs += network(torch.cat(alike)).chunk(len(alike))
    return outputs
