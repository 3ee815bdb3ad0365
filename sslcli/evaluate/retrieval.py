"""Retrieval between images and texts: the rank of the first right answer, recall and its interval.

Right answers of an image are its texts, and every text of the same words; those of a text are the
images that it belongs to.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

_BLOCK = 256  # queries that are compared at a time
_RESAMPLES = 2000
KS = (1, 5, 10)


@dataclass(frozen=True)
class Recall:
    """How well one direction finds its answers.

    Attributes:
        at: Share of queries with a right answer among the first k, by k; a mean over images.
        intervals: 95 % bootstrap interval of each, over images.
        chance: The same share of a random order, by k.
        median_rank: Of the first right answer, from 1 on.
        queries: Number of them.
        candidates: Number of answers to choose from.
    """

    at: dict[int, float]
    intervals: dict[int, tuple[float, float]]
    chance: dict[int, float]
    median_rank: float
    queries: int
    candidates: int


def first_right_ranks(
    queries: Float[Tensor, "queries dim"],
    candidates: Float[Tensor, "candidates dim"],
    is_right: Callable[[slice], Bool[Tensor, "block candidates"]],
) -> Float[Tensor, " queries"]:
    """Return the rank of each query's best right candidate by inner product, from 1 on.

    Of wrong candidates that score exactly as high, half count as ranked before it, so that equal
    vectors do not count as found.

    Args:
        queries: [Q, D].
        candidates: [N, D].
        is_right: Returns the right candidates of a block of queries, at least one each.
    """
    ranks = []
    for first in range(0, len(queries), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(queries)))
        scores = queries[block] @ candidates.T
        right = is_right(block)
        best = scores.where(right, -torch.inf).amax(dim=1, keepdim=True)
        above = (scores > best).sum(dim=1)
        level = ((scores == best) & ~right).sum(dim=1)
        ranks.append(1 + above + level / 2)
    return torch.cat(ranks)


def recall(
    ranks: Float[Tensor, " queries"],
    right: Sequence[int],
    candidates: int,
    owners: Sequence[int],
    seed: int,
) -> Recall:
    """Summarise the ranks of one direction.

    Args:
        ranks: Of the first right answer of each query, [Q].
        right: Number of right answers of each query, [Q].
        candidates: Number of answers to choose from.
        owners: The image that each query belongs to, [Q]; queries of one image vary together.
        seed: Of the bootstrap.
    """
    _, place = np.unique(owners, return_inverse=True)
    each = np.bincount(place)
    hits = np.stack([np.bincount(place, ranks.numpy() <= k) / each for k in KS], axis=1)  # [I, 3]
    counts, frequency = np.unique(np.asarray(right), return_counts=True)
    chance = {
        k: float(np.average([_at_random(int(n), candidates, k) for n in counts], weights=frequency))
        for k in KS
    }
    low, high = _interval(hits, seed)
    return Recall(
        at=dict(zip(KS, hits.mean(axis=0).tolist(), strict=True)),
        intervals={k: (float(low[i]), float(high[i])) for i, k in enumerate(KS)},
        chance=chance,
        median_rank=float(ranks.median()),
        queries=len(ranks),
        candidates=candidates,
    )


def _at_random(right: int, candidates: int, k: int) -> float:
    """Return the chance that k of the candidates, drawn without return, hold a right one."""
    if k > candidates - right:
        return 1.0
    return 1 - math.comb(candidates - right, k) / math.comb(candidates, k)


def _interval(hits: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of 95 % bootstrap intervals of the means of hits [I, K], over images."""
    generator, count = np.random.default_rng(seed), len(hits)
    means = [hits[generator.integers(count, size=count)].mean(axis=0) for _ in range(_RESAMPLES)]
    low, high = np.quantile(np.stack(means), [0.025, 0.975], axis=0)
    return low, high
