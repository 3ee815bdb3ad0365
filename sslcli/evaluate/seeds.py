"""Repeat an evaluation over seeds, as `--seeds 0-4` asks, and summarise. Imports no torch."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sslcli.errors import UsageError

_LIMIT = 1000  # a typing error such as 0-99999999 must not run for years


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds such as "0-4" or "0,3,7", ranges inclusive, in the order given.

    Raises:
        UsageError: If `text` is no such list, repeats a seed, or asks for more than 1,000.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        if not match:
            raise _wrong(f"{text!r} is no list of seeds")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise _wrong(f"the range {part.strip()!r} runs backwards")
        if len(seeds) + last - first >= _LIMIT:
            raise _wrong(f"{text!r} asks for more than {_LIMIT} seeds")
        seeds.extend(range(first, last + 1))
    if len(set(seeds)) < len(seeds):
        raise _wrong(f"{text!r} repeats a seed")
    return tuple(seeds)


@dataclass(frozen=True)
class Summary:
    """One metric over several seeds.

    Attributes:
        mean: Arithmetic mean.
        deviation: Sample standard deviation (n - 1 below), None for a single value.
        n: Number of seeds.
    """

    mean: float
    deviation: float | None
    n: int

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


def _summary(values: Sequence[float]) -> Summary:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), deviation, len(values))


def _wrong(what: str) -> UsageError:
    return UsageError(what, where="--seeds", hint="write them as 0-4 or 0,3,7")
