"""Summarise what was measured several times: mean, deviation, interval and their number."""

import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

_LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """One metric over several seeds or draws.

    Attributes:
        mean: Arithmetic mean.
        deviation: Sample standard deviation (n - 1 below), None for a single value.
        n: Number of seeds or draws.
    """

    mean: float
    deviation: float | None
    n: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean; None for a single value."""
        if self.deviation is None:
            return None
        quantile = float(stdtrit(self.n - 1, (1 + _LEVEL) / 2))
        reach = quantile * self.deviation / math.sqrt(self.n)
        return self.mean - reach, self.mean + reach

    def __str__(self) -> str:
        if self.deviation is None:
            return f"{self.mean:.4f} (n=1)"
        return f"{self.mean:.4f} +- {self.deviation:.4f} (n={self.n})"


def summarise(results: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    """Summarise each metric of several runs, one mapping a seed, all with the same metrics."""
    if not results:
        raise ValueError("there are no results to summarise")
    if any(result.keys() != results[0].keys() for result in results):
        raise ValueError("the results of the seeds name different metrics")
    return {name: _summary([result[name] for result in results]) for name in results[0]}


def over_seeds(
    results: Sequence[Mapping[str, Any]], names: Collection[str]
) -> tuple[dict[str, Any], dict[str, Summary]]:
    """Return the first seed's result with the means of some metrics in it, and their summaries.

    Tensors hold counts, which are added up.

    Args:
        results: One mapping a seed.
        names: The metrics to average, as far as they were measured; the rest is the first seed's.
    """
    from torch import Tensor  # noqa: PLC0415  reading `0-4` needs no torch

    measured = [
        {name: value for name, value in result.items() if name in names and value is not None}
        for result in results
    ]
    summaries = summarise(measured)
    means: dict[str, Any] = {name: each.mean for name, each in summaries.items()}
    for name, value in results[0].items():
        if isinstance(value, Tensor):
            means[name] = sum(result[name] for result in results)
    return {**results[0], **means}, summaries


def repeat(
    measure: Callable[[int], Mapping[str, Any]],
    seeds: Sequence[int],
    default: int,
    names: Collection[str],
) -> tuple[dict[str, Any], dict[str, Summary]]:
    """Measure with each seed as `over_seeds` has it; without any, once with the default seed."""
    if not seeds:
        return dict(measure(default)), {}
    return over_seeds([measure(seed) for seed in seeds], names)


def deviations(summaries: Mapping[str, Summary]) -> dict[str, float | None]:
    """Return the deviation of each metric as `NAME_deviation`, and the number of `seeds`."""
    found: dict[str, float | None] = {f"{n}_deviation": s.deviation for n, s in summaries.items()}
    return found | {"seeds": next(iter(summaries.values())).n}


def _summary(values: Sequence[float]) -> Summary:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), deviation, len(values))
