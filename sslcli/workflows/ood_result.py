"""The numbers of `ood_detect`: a row per score and outside set, their means, and their names."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from statistics import mean
from typing import Any

from torch import Tensor

from sslcli.evaluate.calibration.stored import StoredCalibrator
from sslcli.evaluate.ood.detect import Measured
from sslcli.evaluate.ood.metrics import METRICS
from sslcli.evaluate.ood.scores import Settings

Values = dict[str, tuple[Tensor, Tensor]]  # of the inside [N] and the outside [M], by score


@dataclass(frozen=True)
class ScoreSettings:
    """The settings of a score.

    Attributes:
        score: Its name.
        values: Its settings by name; none for a score without any.
        tuned_auroc: AUROC on validation images against their jigsaws, which chose the settings;
            None when they are the published ones.
    """

    score: str
    values: Settings
    tuned_auroc: float | None

    def __str__(self) -> str:
        shown = " ".join(f"{name}={value:g}" for name, value in self.values.items())
        return f"{shown} (tuned)" if self.tuned_auroc is not None else shown


@dataclass(frozen=True)
class OODResult:
    """The figures of each score on each outside set.

    Attributes:
        measured: A row per score and outside set, set by set.
        settings: The settings of each score, in the order of the scores.
        left_out: Why further scores do not apply, by name.
        top1: The classifier's accuracy on the inside images; None where it has no meaning.
        calibrator: The stored calibrator, where it corrected a score of probabilities.
        protocol: How this was measured, in one line.
        values: By outside set, then by score: the scores of the inside [N] and of the outside
            images [M], float64; they rise towards the inside.
    """

    measured: tuple[Measured, ...]
    settings: tuple[ScoreSettings, ...]
    left_out: dict[str, str]
    top1: float | None
    calibrator: StoredCalibrator | None
    protocol: str
    values: dict[str, Values] = field(repr=False, compare=False)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as flat dicts, ready for a data frame."""
        return [row.as_dict() for row in self.measured]

    def means(self) -> dict[str, dict[str, float]]:
        """Return the mean over the outside sets of each metric, by score."""
        return {
            each.score: {
                metric: mean(row.values()[metric] for row in self.measured if _is(row, each))
                for metric in METRICS
            }
            for each in self.settings
        }

    def metrics(self) -> dict[str, float | None]:
        """Return every number by its name; see `metric_name`. Without an accuracy, top1 is None."""
        means, flat = self.means(), dict[str, float | None]()
        for metric in METRICS:
            for each in self.settings:
                flat[metric_name(metric, each.score)] = means[each.score][metric]
                for row in self.measured:
                    if _is(row, each):
                        flat[metric_name(metric, each.score, row.outside)] = row.values()[metric]
        return {**flat, "top1": self.top1}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % bootstrap interval of every number of one outside set, by its name."""
        return {
            metric_name(metric, row.score, row.outside): ends
            for row in self.measured
            for metric, ends in row.intervals.items()
        }

    def unmeasured(self) -> dict[str, str]:
        """Return why a number is not there, by the name that it would have."""
        why = {
            name: reason
            for score, reason in self.left_out.items()
            for name in metric_names([score], self.values)
        }
        if self.top1 is None:
            there = "there is no classifier, or the inside images are not labelled with its classes"
            why["top1"] = there
        return why


def metric_name(metric: str, score: str, outside: str | None = None) -> str:
    """Return the name of a number of one outside set, or of the mean over all sets."""
    return f"{metric}/{score}" if outside is None else f"{metric}/{score}/{outside}"


def metric_names(scores: Iterable[str], outside: Iterable[str]) -> list[str]:
    """Return every name that `OODResult.metrics` may have, but for "top1"."""
    sets, pairs = (None, *outside), list(product(METRICS, scores))
    return [metric_name(*pair, name) for pair in pairs for name in sets]


def _is(row: Measured, settings: ScoreSettings) -> bool:
    return row.score == settings.score
