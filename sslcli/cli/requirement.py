"""Gates on metrics, as `--require 'top1>=0.85'` writes them. Imports no torch."""

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sslcli.errors import UsageError

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": lambda left, right: math.isclose(left, right, rel_tol=1e-9),
    ">": operator.gt,
    "<": operator.lt,
}
_PATTERN = re.compile(r"\s*([A-Za-z_][\w./-]*)\s*(>=|<=|==|>|<)\s*(\S+)\s*")


@dataclass(frozen=True)
class Requirement:
    """One condition on one metric."""

    metric: str
    operator: str
    value: float

    @classmethod
    def parse(cls, text: str, known: Collection[str] = ()) -> "Requirement":
        """Read a condition such as "top1>=0.85".

        Args:
            text: Metric, operator and number.
            known: Metrics that will exist, when that is known beforehand; a misspelt name then
                fails before any work is done.

        Raises:
            UsageError: If `text` is no condition, or its metric is not among `known`.
        """
        match = _PATTERN.fullmatch(text)
        value = _number(match[3]) if match else None
        if match is None or value is None:
            raise UsageError(
                f"{text!r} is no requirement",
                where="--require",
                hint="write a metric, one of >= > <= < ==, and a number, such as 'top1>=0.85'",
            )
        if known:
            _expect(match[1], known)
        return cls(match[1], match[2], value)

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.value:g}"

    def check(self, metrics: Mapping[str, float]) -> bool:
        """Say whether `metrics` meet the condition; NaN and an absent metric do not."""
        value = metrics.get(self.metric)
        return value is not None and _OPERATORS[self.operator](value, self.value)


def unmet(
    requirements: Sequence[Requirement],
    metrics: Mapping[str, float],
    why_not: Callable[[str], str] = lambda metric: "",
) -> list[str]:
    """Return a sentence on every requirement that `metrics` do not meet.

    Args:
        requirements: Of metrics that can exist, as `Requirement.parse` has made sure.
        metrics: The measured numbers by name.
        why_not: Returns why a metric was not measured; nothing where that is not known.
    """
    faults = []
    for each in requirements:
        if each.check(metrics):
            continue
        if each.metric in metrics:
            faults.append(f"{each.metric} is {metrics[each.metric]:.6g}, not {each}")
        else:
            why = why_not(each.metric) or "it does not apply to this checkpoint and data"
            faults.append(f"{each.metric} was not measured: {why}")
    return faults


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _expect(metric: str, known: Collection[str]) -> None:
    if metric in known:
        return
    near = get_close_matches(metric, known, n=1, cutoff=0.5)
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(
        f"no metric is named {metric!r}",
        where="--require",
        hint=f"{suggestion}there are: {', '.join(sorted(known))}",
    )
