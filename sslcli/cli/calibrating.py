"""Fit a calibrator on logits, compare the figures before and after, and publish both."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sslcli.cli.evaluation import Evaluation
from sslcli.cli.fitting import COUNTS, MEASURES, SHARE, Fitting, parts
from sslcli.cli.syntax import parse_seeds
from sslcli.config.presets import config_hash
from sslcli.data.sources.base import Source, need_labels
from sslcli.engine.annotation import annotate_checkpoint
from sslcli.engine.run_directory import CONFIG, lock_run
from sslcli.errors import DataError, ResourceError
from sslcli.evaluate.calibration.binning import Bins
from sslcli.evaluate.calibration.calibrators import CALIBRATORS, Calibrator
from sslcli.evaluate.calibration.measures import Calibration, measure_calibration, top_label_bins
from sslcli.evaluate.calibration.stored import FACT, FittedOn, StoredCalibrator, stored_calibrator
from sslcli.evaluate.classifier import class_names, logits_of, match_classes, need_classifier
from sslcli.evaluate.seeds import summarise
from sslcli.figures.reliability import reliability_diagram
from sslcli.files import write_atomically


@dataclass(frozen=True)
class Outcome:
    """What one split gave.

    Attributes:
        before: Of the logits as they are.
        after: Of the calibrated ones; None when nothing is applied.
        panels: Reliability of both, by title.
        stored: The calibrator and what it was fitted on.
        note: The protocol in one line.
    """

    before: Calibration
    after: Calibration | None
    panels: dict[str, Bins]
    stored: StoredCalibrator | None
    note: str

    def metrics(self) -> dict[str, Any]:
        """Return the numbers by name: plain ones after calibration, `_before` ones without."""
        last = self.after or self.before
        found = {name: getattr(last, name) for name in MEASURES}
        found["n"] = last.n
        if self.after:
            found |= {f"{name}_before": getattr(self.before, name) for name in MEASURES}
        if self.stored:
            found["n_fit"] = self.stored.fitted.n
            found["temperature"] = getattr(self.stored.calibrator, "temperature", None)
        return {name: value for name, value in found.items() if value is not None}


class Calibrating:
    """One `ssl calibrate` on an open evaluation.

    Args:
        evaluation: Checkpoint, data and encoder.
        fitting: What to fit and on what.
    """

    def __init__(self, evaluation: Evaluation, fitting: Fitting) -> None:
        self.evaluation, self.fitting = evaluation, fitting
        self.classifier = need_classifier(evaluation.checkpoint)
        if not len(evaluation.splits.test):
            hint = "name some with --test, or set data.holdout"
            raise DataError("no image is held out", evaluation.splits.train.name, hint)

    def plan(self, seed: int) -> None:
        """Say how many images would be fitted and reported on; for `--dry-run`."""
        fit, report = self._parts(seed)
        images = {"fit": len(fit) if fit else 0, "report": len(report)}
        show = self.evaluation.show
        show.table("", ("part", "images"), list(images.items()))
        show.result(dry_run=True, images=images, config_hash=config_hash(self.evaluation.config))

    def run(self, seed: int) -> None:
        """Measure, print the table, draw the figure, store the calibrator and publish."""
        seeds = parse_seeds(self.fitting.seeds) if self.fitting.seeds else (seed,)
        outcomes = [self.measure(each) for each in seeds]
        first = outcomes[0]
        metrics, more = _over_seeds(outcomes) if self.fitting.seeds else (first.metrics(), {})
        path = self._draw(first)
        keep = self.fitting.store and self._met(metrics)
        if self.fitting.store and not keep:
            self.evaluation.listener.warn("a --require is not met, so nothing is stored")
        if keep and first.stored:
            self._store(first.stored)
        self.evaluation.publish(
            {**metrics, "protocol": first.note},
            **_table(first if len(outcomes) == 1 else None),
            bins=self.fitting.bins,
            reliability={title: bins.rows() for title, bins in first.panels.items()},
            figure=path,
            stored=keep,
            calibrator=_facts(first.stored),
            **more,
        )

    def measure(self, seed: int) -> Outcome:
        """Fit on one part and measure both on the other, which the fit has not seen."""
        fit, report = self._parts(seed)
        logits, labels = self._logits(report)
        before, panels = self._measure(None, logits, labels, "as trained")
        stored = self._calibrator(fit, seed)
        bins = f"{self.fitting.bins} bins, n = {len(labels)} images of {report.name}"
        if stored is None:
            return Outcome(before, None, panels, None, f"uncalibrated, {bins}")
        title = stored.calibrator.method
        after, more = self._measure(stored.calibrator, logits, labels, title)
        note = f"{title} fitted on {stored.fitted.n} images ({stored.fitted.data}); {bins}"
        if after.nll > before.nll:
            worse = f"{title} raises the NLL of the reported images, from {before.nll:.4g} to"
            why = f"{stored.fitted.n} fitting images say too little, or are of another kind"
            self.evaluation.listener.warn(f"{worse} {after.nll:.4g}: {why}")
        return Outcome(before, after, panels | more, stored, note)

    def _measure(
        self, calibrator: Calibrator | None, logits: Tensor, labels: Tensor, title: str
    ) -> tuple[Calibration, dict[str, Bins]]:
        bins = self.fitting.bins
        log_probabilities = (
            calibrator.log_probabilities(logits) if calibrator else logits.log_softmax(dim=1)
        )
        panel = top_label_bins(log_probabilities.exp(), labels, bins)
        return measure_calibration(log_probabilities, labels, bins), {title: panel}

    def _calibrator(self, fit: Source | None, seed: int) -> StoredCalibrator | None:
        if self.fitting.method == "stored":
            return self._stored
        if fit is None:
            return None
        logits, labels = self._logits(fit)
        self._warn_of_absent_classes(labels)
        calibrator = CALIBRATORS[self.fitting.method].fit(logits, labels)
        share = None if self.fitting.data else self.fitting.share or SHARE
        whole = fit if share is None else self.evaluation.splits.test
        fitted = FittedOn(
            data=fit.name, fingerprint=whole.fingerprint, n=len(labels), share=share,
            seed=None if share is None else seed,
        )  # fmt: skip
        return StoredCalibrator(calibrator=calibrator, fitted=fitted)

    @cached_property
    def _stored(self) -> StoredCalibrator | None:
        return stored_calibrator(self.evaluation.checkpoint)

    def _parts(self, seed: int) -> tuple[Source | None, Source]:
        applied = self.fitting.method == "stored" and self._stored
        return parts(self.evaluation, self.fitting, seed, applied.fitted if applied else None)

    def _logits(self, source: Source) -> tuple[Tensor, Tensor]:
        """Return logits [N, C] float64 and classes [N] of the images that can be read.

        Both parts are seen as every evaluation sees images: in evaluation mode, centre-cropped.
        """
        found = self.evaluation.features(source)
        labels, known = need_labels(source), class_names(self.evaluation.checkpoint)
        labels = match_classes(labels, source.class_names, known)
        logits = logits_of(self.classifier, found.features)
        return logits, torch.from_numpy(labels)[found.rows]

    def _draw(self, outcome: Outcome) -> str | None:
        """Draw the reliability diagram; a disk that refuses it costs the figure alone."""
        path = self.evaluation.checkpoint.run / "figures" / f"reliability-{self.fitting.method}.png"
        try:
            write_atomically(path, lambda file: reliability_diagram(outcome.panels, file))
        except ResourceError as fault:
            self.evaluation.listener.warn(f"{fault.where}: {fault.what}")
            return None
        self.evaluation.listener.note(f"reliability diagram {path}")
        return str(path)

    def _met(self, metrics: Mapping[str, Any]) -> bool:
        return all(requirement.check(metrics) for requirement in self.evaluation.require)

    def _store(self, stored: StoredCalibrator) -> None:
        checkpoint = self.evaluation.checkpoint
        if (checkpoint.run / CONFIG).is_file():
            lock_run(checkpoint.run)  # a training would replace the checkpoint under our hands
        annotate_checkpoint(checkpoint.path, {FACT: stored.model_dump(mode="json")})
        self.evaluation.listener.note(f"stored in {checkpoint.path}")

    def _warn_of_absent_classes(self, labels: Tensor) -> None:
        known = class_names(self.evaluation.checkpoint)
        seen = set(labels.tolist())
        absent = [name for index, name in enumerate(known) if index not in seen]
        if absent:
            named = f"{', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}"
            what = f"{len(absent)} classes have no image to fit on ({named})"
            self.evaluation.listener.warn(f"{what}: nothing is learnt about their probabilities")


def _facts(stored: StoredCalibrator | None) -> dict[str, Any] | None:
    """Return what a result says of a calibrator; isotonic curves are too long for a line."""
    return stored.model_dump(mode="json", exclude={"calibrator": {"knots"}}) if stored else None


def _table(outcome: Outcome | None) -> dict[str, Any]:
    """Return a table of one split with the figures before and after beside each other."""
    if outcome is None or outcome.after is None:
        return {}
    before, after, found = asdict(outcome.before), asdict(outcome.after), outcome.metrics()
    rows: list[tuple[Any, ...]] = [(name, before[name], after[name]) for name in (*MEASURES, "n")]
    rows += [(name, "", found[name]) for name in ("n_fit", "temperature") if name in found]
    return {"columns": ("measure", "before", "after"), "rows": rows}


def _over_seeds(outcomes: list[Outcome]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the means with their deviations, and the summaries; counts are those of each seed."""
    each = [outcome.metrics() for outcome in outcomes]
    counts = {name: each[0].pop(name) for name in COUNTS}
    summary = summarise([{k: v for k, v in one.items() if k not in COUNTS} for one in each])
    metrics = {name: found.mean for name, found in summary.items()} | counts
    metrics |= {f"{name}_deviation": found.deviation for name, found in summary.items()}
    metrics["seeds"] = len(outcomes)
    return metrics, {"over_seeds": {name: asdict(found) for name, found in summary.items()}}
