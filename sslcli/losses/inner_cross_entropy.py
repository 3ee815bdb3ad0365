"""Cross-entropy over inner products with its gradient, a block of rows at a time, in the caches.

With every cell of a batch as a candidate of every other, autograd would keep all scores, and their
softmax, until the backward pass. Here a block is scored, turned into its own gradient and
multiplied out, so that a CPU never holds more. The time is about the same: products take it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sslcli.losses.precision import at_least_float32

_BLOCK = 1 << 17  # scores of a block on a CPU: half a MiB


class Found(NamedTuple):
    """A comparison of rows with candidates.

    Attributes:
        loss: Scalar mean, in nats.
        top1: Share of rows whose own candidate scores above all others; no gradient.
    """

    loss: Tensor
    top1: Tensor


def inner_cross_entropy(
    rows: Tensor, columns: Tensor, own: Tensor, drawn: Tensor | None = None
) -> Found:
    """Find each row's own column by inner products, in float32 at least.

    Args:
        rows: Shape [N, D].
        columns: Shape [M, D].
        own: Index of each row's own column, [N].
        drawn: Columns that each row compares its own with, [N, m], which may be among them; None
            for all others.
    """
    candidates = None if drawn is None else torch.cat([own[:, None], drawn], dim=1)
    right = own if drawn is None else torch.zeros_like(own)
    wide = at_least_float32(rows), at_least_float32(columns)
    return Found(*_InnerCrossEntropy.apply(*wide, right, candidates))


class _InnerCrossEntropy(torch.autograd.Function):
    """The loss of `inner_cross_entropy`, whose gradient is taken with it."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor, right: Tensor, candidates: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        learns = any(ctx.needs_input_grad)
        to_rows, to_columns = torch.empty_like(rows), torch.zeros_like(columns)
        losses, hits = [], []
        with torch.autocast(rows.device.type, enabled=False):
            for piece in row_blocks(len(rows), len(columns), rows.device):
                scores = rows[piece] @ columns.T  # [r, M]
                index = None if candidates is None else candidates[piece]
                chosen = scores if index is None else scores.gather(1, index)
                best = _best_other(chosen, right[piece, None], index)
                loss, hit = _to_gradient(chosen, right[piece, None], best)
                losses.append(loss)
                hits.append(hit)
                if learns:
                    if index is not None:  # a column may have been drawn more than once
                        scores.zero_().scatter_add_(1, index, chosen)
                    to_rows[piece] = scores @ columns
                    to_columns.addmm_(scores.T, rows[piece])
        top1 = torch.cat(hits).mean()
        ctx.save_for_backward(to_rows.div_(len(rows)), to_columns.div_(len(rows)))
        ctx.mark_non_differentiable(top1)
        return torch.cat(losses).mean(), top1

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        to_rows, to_columns = ctx.saved_tensors
        return gradient * to_rows, gradient * to_columns, None, None


def _best_other(scores: Tensor, own: Tensor, index: Tensor | None) -> Tensor:
    """Return the best score of each row besides its own, [r, 1], of scores [r, C] that stay.

    Args:
        scores: See above.
        own: Index of each row's own score, [r, 1].
        index: Column of each score, the own one first; None when they are in order.
    """
    if index is not None:  # the own column may have been drawn again
        others = scores.masked_fill(index == index[:, :1], -torch.inf)
        return others.amax(dim=1, keepdim=True)
    mine = scores.gather(1, own)
    best = scores.scatter_(1, own, -torch.inf).amax(dim=1, keepdim=True)
    scores.scatter_(1, own, mine)
    return best


def _to_gradient(scores: Tensor, own: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    """Put into scores [r, C] the gradient of each row's loss; return the losses and hits, [r].

    Args:
        scores: Overwritten.
        own: Index of each row's own score, [r, 1].
        best: Best score of the others, [r, 1].
    """
    mine = scores.gather(1, own)
    most = torch.maximum(mine, best)
    total = scores.sub_(most).exp_().sum(dim=1, keepdim=True)
    scores.div_(total).scatter_add_(1, own, torch.full_like(mine, -1.0))
    return (total.log() + most - mine)[:, 0], (mine > best).to(mine.dtype)[:, 0]


def row_blocks(rows: int, columns: int, device: torch.device) -> Iterator[slice]:
    """Yield the rows to work on at a time: all on an accelerator, which has its own order."""
    length = max(1, _BLOCK // columns) if device.type == "cpu" else rows
    for start in range(0, rows, length):
        yield slice(start, start + length)
