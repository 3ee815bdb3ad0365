"""The report of `ssl ood-detect`: table, figures, line of results.jsonl, JSON and gates."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from torch import Tensor

from sslcli.cli.evaluation import Evaluation
from sslcli.evaluate.ood.bootstrap import LEVEL, RESAMPLES
from sslcli.evaluate.ood.detect import Fitted, Measured
from sslcli.evaluate.ood.metrics import METRICS, Ranking
from sslcli.evaluate.ood.seen import Known
from sslcli.figures.detection import Roc, roc_curves, score_histograms

_COLUMNS = ("outside", "n", "score", "AUROC", f"{LEVEL:.0%} interval", "AUPR-in", "AUPR-out",
            "FPR95-in", "FPR95-out", "settings")  # fmt: skip


class Report:
    """Collect the measurements of one detection and publish them.

    Args:
        evaluation: Checkpoint, data and streams.
        known: What scores were fitted on.
        fitted: The scores.
        left_out: Why further scores do not apply, by name.
        top1: The classifier's accuracy inside; None when it does not apply.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        known: Known,
        fitted: Sequence[Fitted],
        left_out: Mapping[str, str],
        top1: float | None,
    ) -> None:
        self.evaluation, self.fitted, self.left_out = evaluation, fitted, left_out
        self.top1 = top1
        self.protocol = _protocol(known, fitted, evaluation.config.seed)
        self.measured: list[Measured] = []
        self._curves: dict[str, dict[str, Roc]] = {}
        self._figures: list[str] = []

    def add(
        self, name: str, scores: Mapping[str, tuple[Tensor, Tensor]], measured: list[Measured]
    ) -> None:
        """Take in one outside set, and draw its histograms."""
        self.measured += measured
        self._curves[name] = {score: _curve(*values) for score, values in scores.items()}
        titles = {
            each.score: f"{each.score}, AUROC {each.values['auroc']:.3f}" for each in measured
        }
        values = {
            titles[score]: (own.numpy(), other.numpy()) for score, (own, other) in scores.items()
        }
        path = self._path(f"ood-scores-{name.replace('/', '-')}.png")
        self._draw(path, lambda: score_histograms(values, ("inside", name), path))

    def publish(self) -> None:
        """Draw the ROC curves, print the table, keep the record, then hold to the gates."""
        path = self._path("ood-roc.png")
        self._draw(path, lambda: roc_curves(self._curves, path))
        show = self.evaluation.show
        if self.top1 is not None:
            show.note(f"the classifier's top-1 on the inside test images is {self.top1:.4f}")
        show.note(f"figures: {', '.join(self._figures) or 'none'}")
        show.note(self.protocol)
        self.evaluation.publish(
            self.metrics(), columns=_COLUMNS, rows=self.rows(), why_not=self._why_not,
            **self.details(),
        )  # fmt: skip

    def metrics(self) -> dict[str, float]:
        """Return every number as METRIC/SCORE/SET, and means over sets as METRIC/SCORE."""
        flat = {}
        for metric in METRICS:
            for each in self.fitted:
                name = f"{metric}/{each.score.name}"
                flat[name] = mean(row.values[metric] for row in self._of(each))
                flat |= {f"{name}/{row.outside}": row.values[metric] for row in self._of(each)}
        return flat if self.top1 is None else {**flat, "top1": self.top1}

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the table: the scores of each set, then their means when sets are many."""
        settings = {each.score.name: _settings(each) for each in self.fitted}
        rows: list[tuple[Any, ...]] = [
            (row.outside, row.n_outside, row.score, row.values["auroc"],
             "{:.4f}-{:.4f}".format(*row.intervals["auroc"]),
             *(row.values[metric] for metric in METRICS[1:]), settings[row.score])
            for row in self.measured
        ]  # fmt: skip
        if len(self._curves) > 1:
            metrics = self.metrics()
            for each in self.fitted:
                first, *rest = (metrics[f"{metric}/{each.score.name}"] for metric in METRICS)
                rows.append(("mean", "", each.score.name, first, "", *rest, _settings(each)))
        return rows

    def details(self) -> dict[str, Any]:
        """Return what the record says beside the metrics."""
        return {
            "results": [row.as_dict() for row in self.measured],
            "settings": {
                each.score.name: {**each.settings, "tuned_auroc": each.tuned_auroc}
                for each in self.fitted
                if each.settings
            },
            "left_out": dict(self.left_out),
            "protocol": self.protocol,
            "figures": self._figures,
        }

    def _why_not(self, metric: str) -> str:
        """Return why a metric is not there, such as "auroc/odin/svhn"."""
        if metric == "top1":
            return "there is no classifier, or the inside images are not labelled with its classes"
        return self.left_out.get(metric.split("/")[1], "")

    def _of(self, fitted: Fitted) -> list[Measured]:
        return [row for row in self.measured if row.score == fitted.score.name]

    def _path(self, name: str) -> Path:
        return self.evaluation.checkpoint.run / "figures" / name

    def _draw(self, path: Path, draw: Any) -> None:
        try:
            draw()
        except OSError as error:  # such as a checkpoint on a read-only disk
            self.evaluation.listener.warn(f"{path}: {error.strerror or error}")
        else:
            self._figures.append(str(path))


def _curve(inside: Tensor, outside: Tensor) -> Roc:
    """Return the shares of outside and inside accepted, thinned to what a figure can show."""
    own, other = (counts[0] for counts in Ranking(inside, outside).accepted())
    step = max(1, len(own) // 1000)
    ends = [*range(0, len(own) - 1, step), len(own) - 1]
    first, second = (np.append(0.0, counts[ends] / counts[-1]) for counts in (other, own))
    return first, second


def _settings(fitted: Fitted) -> str:
    shown = " ".join(f"{name}={value:g}" for name, value in fitted.settings.items())
    return f"{shown} (tuned)" if fitted.tuned_auroc is not None else shown


def _protocol(known: Known, fitted: Sequence[Fitted], seed: int) -> str:
    parts = [f"fitted on {len(known.train.features):,} training images"]
    if any(each.tuned_auroc is not None for each in fitted):
        count = len(known.validation.features)
        parts.append(f"tuned on {count:,} others of them against their jigsaws")
    if known.calibrator and any(each.score.calibrated for each in fitted):
        named = ", ".join(each.score.name for each in fitted if each.score.calibrated)
        parts.append(f"{named} of probabilities calibrated by the stored {known.calibrator.method}")
    parts.append("AUPR is average precision")
    parts.append(f"intervals from {RESAMPLES} resamples, seed {seed}")
    return "; ".join(parts)
