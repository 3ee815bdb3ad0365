"""AMDIM's contrast and its gradient in one go: a few rows of scores at a time, in the caches.

Every source has a score with every place of every image, and autograd would keep several copies of
all until the backward pass. Here a block of rows is clipped, summed and turned into its own
gradient while it lies in the caches. Products are taken of all rows together, and take most of the
time: the loss costs 5 to 8 % less by this.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sslcli.losses.inner_cross_entropy import row_blocks

_SAFE = 60.0  # exp of scores up to it, summed over any batch, stays within float32


class Contrast(NamedTuple):
    """A contrast of sources.

    Attributes:
        loss: Scalar in nats: the mean over sources and places, plus the penalty.
        found: How often a place of the own image scores above all of others, by source, [S]; no
            gradient.
    """

    loss: Tensor
    found: Tensor


def contrast(
    source: Tensor, target: Tensor, own: Tensor, places: int, clip: float, penalty: float
) -> Contrast:
    """Tell each place of a source's image from all places of other images.

    Args:
        source: One vector a source, scaled by 1 / sqrt(R), [S, R], in float32 at least.
        target: Every place of every image, [N * L, R].
        own: Index of each source's image, [S].
        places: L.
        clip: c of c tanh(score / c); 0 for none.
        penalty: Weight of the mean square score, before the clip.

    Raises:
        ValueError: If there is no other image.
    """
    if len(target) == places:
        raise ValueError("there is no other image to tell this one from")
    return Contrast(*_Contrast.apply(source, target, own, places, clip, penalty))


class _Contrast(torch.autograd.Function):
    """The loss of `contrast`, whose gradient is taken with it."""

    @staticmethod
    def forward(
        ctx: Any,
        source: Tensor,
        target: Tensor,
        own: Tensor,
        places: int,
        clip: float,
        penalty: float,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(source.device.type, enabled=False):
            scores = source @ target.T  # [S, N * L], which become their own gradient
            losses, rights = [], []
            for rows in row_blocks(len(scores), len(target), scores.device):
                block = scores[rows].view(-1, len(target) // places, places)
                loss, right = _pass(block, own[rows], scores.numel(), clip, penalty)
                losses.append(loss)
                rights.append(right)
            to_source, to_target = ctx.needs_input_grad[:2]
            ctx.save_for_backward(
                scores @ target if to_source else None, scores.T @ source if to_target else None
            )
        found = torch.cat(rights)
        ctx.mark_non_differentiable(found)
        return torch.stack(losses).sum(), found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        to_source, to_target = ctx.saved_tensors
        return *(None if x is None else gradient * x for x in (to_source, to_target)), *[None] * 4


def _pass(
    scores: Tensor, own: Tensor, total: int, clip: float, penalty: float
) -> tuple[Tensor, Tensor]:
    """Put into scores of sources, [S, N, L], their gradient; return the loss, and what was found.

    Args:
        scores: Overwritten.
        own: Index of each source's image, [S].
        total: Scores of all sources, over which the mean is taken; the loss is their part of it.
        clip: As in `contrast`.
        penalty: As in `contrast`.
    """
    index = own[:, None, None].expand(-1, 1, scores.shape[2])
    share = scores.shape[1] / total  # of a place of a source: 1 / (all sources * L)
    square = torch.linalg.vector_norm(scores).square() / total
    mine = scores.gather(1, index)  # [S, 1, L]
    kept = torch.tanh(scores / clip) if clip else scores.clone()  # over c, if there is one
    unit = clip or 1.0
    kept_mine = unit * kept.gather(1, index).squeeze(1)  # [S, L]
    scores.scatter_(1, index, -torch.inf)
    others_best = scores.flatten(1).amax(dim=1)  # [S]
    found = (mine > others_best[:, None, None]).float().mean(dim=(1, 2))
    scores.scatter_(1, index, mine)
    slope = 1 - kept.square() if clip else None  # of the clip
    most = 0.0 if 0 < clip <= _SAFE else clipped(others_best, clip)[:, None, None]
    weights = kept.mul_(unit).sub_(most).exp_()
    weights.scatter_(1, index, 0.0)
    sums = weights.flatten(1).sum(dim=1)  # [S]
    others = sums.log()[:, None] + (most if isinstance(most, float) else most[:, :, 0])
    gap = others - kept_mine  # [S, L]
    pull = share * torch.sigmoid(gap)
    weights.mul_((pull.sum(dim=1) / sums)[:, None, None])
    weights.scatter_(1, index, -pull[:, None])
    if slope is not None:
        weights.mul_(slope)
    scores.mul_(2 * penalty / total).add_(weights)
    return share * functional.softplus(gap).sum() + penalty * square, found


def clipped(logits: Tensor, clip: float) -> Tensor:
    """Return c tanh(logits / c), which lies within c of 0; the logits themselves if c is 0."""
    return clip * torch.tanh(logits / clip) if clip else logits
