"""Follow a measurement of the encoder: its best step, a fall below it, and when patience ends."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Best:
    """The best value of one measurement so far; larger is better.

    Attributes:
        metric: Name of the measurement.
        fall: Share of the best that a value may lack before a warning.
        keeps: Whether the weights of the best step are kept.
        patience: Measurements without a better one after which the run ends; None for never.
        value: The best so far; None before the first.
        step: Its step.
        since: Measurements since then.
        told: Whether a fall below it was warned of.
    """

    metric: str
    fall: float
    keeps: bool = False
    patience: int | None = None
    value: float | None = None
    step: int = 0
    since: int = 0
    told: bool = False

    @property
    def is_over(self) -> bool:
        """Whether patience has ended."""
        return self.patience is not None and self.since >= self.patience

    def take(self, step: int, value: float | None, warn: Callable[[str], None]) -> None:
        """Take in a measurement, and warn once when the encoder has become much worse.

        Args:
            step: When it was made.
            value: What was measured; None or no number when that failed, which changes nothing.
            warn: Called with a line for the user.
        """
        if value is None or not math.isfinite(value):
            return
        if self.value is None or value > self.value:
            self.value, self.step, self.since, self.told = value, step, 0, False
            return
        self.since += 1
        if value < (1 - self.fall) * self.value and not self.told:
            self.told = True
            was = f"{self.value:.4f} at step {self.step}, its best"
            warn(f"the encoder gets worse: {self.metric} is {value:.4f} at step {step}, was {was}")

    def why_over(self) -> str:
        """Return why a run ended before its time."""
        return (
            f"no better {self.metric} in {self.since} measurements "
            f"than {self.value:.4f} at step {self.step}"
        )

    def facts(self) -> dict[str, Any]:
        """Return what `restore` needs, as JSON values."""
        names = ("metric", "value", "step", "since", "told")
        return {**{name: getattr(self, name) for name in names}, "ended_early": self.is_over}

    def restore(self, facts: Mapping[str, Any] | None) -> None:
        """Go on from `facts` if they are of the same measurement; else from nothing."""
        known = facts if facts and facts["metric"] == self.metric else {}
        self.value, self.step = known.get("value"), known.get("step", 0)
        self.since, self.told = known.get("since", 0), known.get("told", False)
