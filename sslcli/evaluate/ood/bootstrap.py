"""Intervals of the metrics by resampling both sets."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sslcli.evaluate.ood.metrics import METRICS, Ranking, summarise

RESAMPLES, LEVEL = 500, 0.95
_CHUNK = 8  # resamples at a time: their counts stay in the processor's cache


class Bootstrap:
    """Draw resamples of an inside and an outside set once, and use them for every score.

    Each resample draws as many samples from each set as it has, with replacement, so the ratio of
    the sizes stays. The intervals cover the choice of test images, not the seeds of training and of
    the far sets.

    Args:
        inside: Number of inside samples.
        outside: Number of outside samples.
        seed: Seed of the draws.
        resamples: How many.
    """

    def __init__(self, inside: int, outside: int, seed: int, resamples: int = RESAMPLES) -> None:
        generator = np.random.default_rng(seed)
        self.weights = np.hstack(
            [_multiplicities(generator, size, resamples) for size in (inside, outside)]
        )  # [resamples, inside + outside]

    def intervals(
        self, inside: Float[Tensor, " n"], outside: Float[Tensor, " m"]
    ) -> dict[str, tuple[float, float]]:
        """Return the 95 % percentile interval of each of `METRICS`."""
        ranking = Ranking(inside, outside)
        if sum(ranking.sizes) != self.weights.shape[1]:
            raise ValueError(f"drawn for {self.weights.shape[1]} samples, not {ranking.sizes}")
        parts = [summarise(*ranking.accepted(chunk)) for chunk in self._chunks()]
        tails = (50 * (1 - LEVEL), 50 * (1 + LEVEL))
        pooled = {name: np.concatenate([part[name] for part in parts]) for name in METRICS}
        ends = {name: np.percentile(values, tails) for name, values in pooled.items()}
        return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

    def _chunks(self) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(self.weights), _CHUNK):
            yield self.weights[start : start + _CHUNK]


def _multiplicities(generator: np.random.Generator, size: int, times: int) -> NDArray[np.uint8]:
    """Return how often each of `size` samples is drawn in each resample, [times, size]."""
    rows = (np.bincount(generator.integers(size, size=size), minlength=size) for _ in range(times))
    return np.stack([row.astype(np.uint8) for row in rows])  # 256 times one sample never happens
