"""Numbers of a robustness evaluation: one row a condition, with its accuracy and interval."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sslcli.evaluate.robust.interval import interval_of_means, wilson
from sslcli.workflows.trial import CORRUPTED, Trial, Tried, severities


@dataclass(frozen=True, kw_only=True)
class RobustRow(Tried):
    """The accuracy under one condition, or the mean over several.

    Attributes:
        accuracy: Share of images that are classified rightly.
        interval: 95 % interval of it, over the choice of test images alone.
        zero_gradient: Share of images on which PGD failed because the gradient was 0; None for
            conditions other than PGD.
    """

    accuracy: float
    interval: tuple[float, float]
    zero_gradient: float | None = None


@dataclass(frozen=True)
class RobustResult:
    """Accuracy of a classifier under attacks and corruptions.

    Attributes:
        rows: Clean images first, then attacks, corruptions by severity, and means of these.
        n: Images under each condition.
        protocol: The settings, in one line.
    """

    rows: tuple[RobustRow, ...]
    n: int
    protocol: str

    @property
    def top1(self) -> float:
        """Accuracy of the plain classifier on clean images."""
        return self.rows[0].accuracy

    @property
    def zero_gradient(self) -> float | None:
        """The largest `zero_gradient` of any attack; None without attacks."""
        return max(self.zero_gradients().values(), default=None)

    def zero_gradients(self) -> dict[str, float]:
        """Return the `zero_gradient` of each PGD attack by its metric's name."""
        found = {row.metric: row.zero_gradient for row in self.rows}
        return {name: share for name, share in found.items() if share is not None}

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers by name: top1/linf-8, top1/fog/3, top1/corrupted, n, zero_gradient."""
        found: dict[str, float | None] = {row.metric: row.accuracy for row in self.rows}
        return found | {"n": self.n, "zero_gradient": self.zero_gradient}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the intervals by the metric's name."""
        return {row.metric: row.interval for row in self.rows}


def result_of(
    trial: Trial, right: Mapping[str, np.ndarray], stuck: Mapping[str, int], protocol: str
) -> RobustResult:
    """Turn what was measured into numbers.

    Args:
        trial: The settings.
        right: Which images were classified rightly, [N] bool, by the condition's name.
        stuck: How many images each PGD attack failed to break after a gradient of 0, by name.
        protocol: The settings, in one line.
    """
    n = len(right[Tried().condition])
    rows = [
        _row(
            each, hits, wilson(hits), stuck[each.condition] / n if each.condition in stuck else None
        )
        for each, hits in ((each, right[each.condition]) for each in trial.tried())
    ]
    for each in trial.means():
        hits = np.stack([right[part.condition] for part in _parts(each, trial)])
        rows.append(_row(each, hits, interval_of_means(hits), None))
    return RobustResult(tuple(rows), n, protocol)


def _row(
    tried: Tried, hits: np.ndarray, interval: tuple[float, float], zero_gradient: float | None
) -> RobustRow:
    accuracy = float(hits.mean())
    return RobustRow(
        **vars(tried), accuracy=accuracy, interval=interval, zero_gradient=zero_gradient
    )


def _parts(mean: Tried, trial: Trial) -> list[Tried]:
    """Return the conditions that a mean is over, those of a corruption side by side."""
    names = [each.name for each in trial.averaged]
    if mean.corruption != CORRUPTED:
        names = [mean.corruption]
    parts = [part for name in names for part in severities(name)]
    return [part for part in parts if mean.severity in (None, part.severity)]
