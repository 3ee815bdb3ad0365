"""Run views of different sizes through one network."""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor


def embed_views(
    encoder: Callable[[Tensor], Tensor],
    head: Callable[[Tensor], Tensor],
    views: Sequence[Tensor],
) -> list[Tensor]:
    """Return the head's output of each view.

    Multi-crop training (Caron et al. 2020, arXiv:2006.09882, section 3.2) sees two large crops and
    several small ones. The encoder runs once for neighbours of one size and the head once for all
    views, as in the official codes of SwAV (src/resnet50.py, `forward`) and DINO (utils.py,
    `MultiCropWrapper`): an encoder's BatchNorm takes its statistics over the views of one size, a
    head's over all.

    Args:
        encoder: Maps [N, 3, S, S] to features [N, F], for every size S of the views.
        head: Maps features of all views to [N, D].
        views: Each [B, 3, S, S].

    Returns:
        One tensor a view, [B, D].
    """
    groups = groupby(views, key=lambda view: view.shape[-1])
    features = torch.cat([encoder(torch.cat(list(group))) for _, group in groups])  # [V * B, F]
    return list(head(features).chunk(len(views)))
