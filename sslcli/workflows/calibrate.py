"""Measure a classifier's calibration, fit a calibrator, and measure again on other images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslcli.data.sources.base import Source, need_labels, noun
from sslcli.engine.annotation import annotate_checkpoint
from sslcli.engine.run_directory import CONFIG, lock_run
from sslcli.errors import UsageError
from sslcli.evaluate.calibration.binning import Bins
from sslcli.evaluate.calibration.calibrators import CALIBRATORS
from sslcli.evaluate.calibration.measures import Calibration, measure_calibration, top_label_bins
from sslcli.evaluate.calibration.stored import FACT, FittedOn, StoredCalibrator, stored_calibrator
from sslcli.evaluate.classifier import logits_of, match_classes, need_classifier
from sslcli.evaluate.seeds import Summary, deviations, summarise
from sslcli.listener import QUIET, Listener
from sslcli.workflows.calibration_data import SHARE, Fitting, Kind, check_fitting, parts
from sslcli.workflows.run import Run, load

MEASURES = ("top1", "ece", "ece_mass", "classwise_ece", "mce", "nll", "brier")
COUNTS = ("n", "n_fit")
BINS = 15


@dataclass(frozen=True)
class SplitCalibration:
    """The result of one split into images to fit on and images to report on.

    Attributes:
        before: Of the logits as they are.
        after: Of the calibrated ones; None when nothing is applied.
        reliability: The bins before and after: by "as trained", and by the calibrator's name.
        calibrator: The calibrator that is applied, with the facts of its fit; None without one.
        protocol: How this was measured, in one line.
    """

    before: Calibration
    after: Calibration | None
    reliability: dict[str, Bins]
    calibrator: StoredCalibrator | None
    protocol: str

    def metrics(self) -> dict[str, float]:
        """Return the numbers by name: plain ones after calibration, `_before` ones without."""
        last = self.after or self.before
        found: dict[str, float] = {name: getattr(last, name) for name in (*MEASURES, "n")}
        if self.after:
            found |= {_before(name): getattr(self.before, name) for name in MEASURES}
        if self.calibrator:
            found["n_fit"] = self.calibrator.fitted.n
            temperature = getattr(self.calibrator.calibrator, "temperature", None)
            found |= {} if temperature is None else {"temperature": temperature}
        return found


@dataclass(frozen=True)
class CalibrationResult:
    """The calibration of a classifier's probabilities, before and after the fit.

    Attributes:
        splits: One a seed.
        over_seeds: Mean and deviation of each metric over several seeds; None for a single one.
        stored: Whether the calibrator was kept in the checkpoint.
    """

    splits: tuple[SplitCalibration, ...]
    over_seeds: dict[str, Summary] | None = None
    stored: bool = False

    @property
    def first(self) -> SplitCalibration:
        """The split of the first seed."""
        return self.splits[0]

    @property
    def calibrator(self) -> StoredCalibrator | None:
        """The calibrator of the first seed, and what it was fitted on."""
        return self.first.calibrator

    @property
    def protocol(self) -> str:
        """The protocol of the first seed, in one line."""
        return self.first.protocol

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers by name; over seeds means, deviations, and the first seed's counts."""
        first = self.first.metrics()
        if self.over_seeds is None:
            return dict(first)
        found: dict[str, float | None] = {name: s.mean for name, s in self.over_seeds.items()}
        found |= {name: first[name] for name in COUNTS}
        return found | deviations(self.over_seeds)


def metric_names(method: Kind, seeds: Sequence[int] = ()) -> tuple[str, ...]:
    """Return the names that `CalibrationResult.metrics` may have."""
    names = [*MEASURES, "n"]
    if method != "none":
        names += [*map(_before, MEASURES), "n_fit"]
    if method in ("temperature", "stored"):
        names.append("temperature")
    repeated = [f"{name}_deviation" for name in names if name not in COUNTS]
    return (*names, *repeated, "seeds") if seeds else tuple(names)


def _before(name: str) -> str:
    return f"{name}_before"


def calibrate(
    run: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    method: Kind = "temperature",
    fit_data: str | None = None,
    fit_share: float | None = None,
    bins: int = BINS,
    store: bool = False,
    overwrite: bool = False,
    encoder: str | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    seeds: Sequence[int] = (),
    data_root: str | None = None,
    download: bool = False,
    device: str = "auto",
    precision: str | None = None,
    listener: Listener = QUIET,
) -> CalibrationResult:
    """Measure a classifier's calibration, fit a calibrator, and measure again on other images.

    The calibrator is fitted on half of the held-out images and reported on the other half (Guo et
    al. 2017, arXiv:1706.04599); the seed decides which.

    Args:
        run: A run of `finetune` or of `linear_eval` with the paper's protocol: its directory, its
            checkpoint, or what `load` returned; or a classifier of another code. See `load` for
            this and for `data`, `test`, `data_root`, `download`, `overrides`, `device`,
            `precision` and `listener`.
        data: The data set, when not the checkpoint's.
        test: The held-out data.
        method: The calibrator to fit; "stored" applies the stored one, "none" only measures.
        fit_data: Labelled data to fit on, all of it unseen in training.
        fit_share: Share of each class's held-out images to fit on; None for half.
        bins: Bins of every calibration error.
        store: Keep the calibrator in the checkpoint, for other functions to apply.
        overwrite: Replace one that is there.
        encoder: The network of weights of another code; see `load`.
        preset: Whose images and protocols suit such weights; see `load`.
        overrides: Changes of the config.
        seed: Decides which held-out images are fitted on; which ones are held out stays.
        seeds: Repeat for each of these.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        device: Where to run.
        precision: Instead of the checkpoint's.
        listener: Who is told what happens.

    Raises:
        SslError: If there is no classifier, the arguments do not go together, or what would be
            reported on was trained or fitted on.
    """
    opened = load(
        run, data=data, test=test, data_root=data_root, download=download, overrides=overrides,
        device=device, precision=precision, encoder=encoder, preset=preset, listener=listener,
    )  # fmt: skip
    fitting = Fitting(method, fit_data, fit_share)
    check_fitting(opened.checkpoint, fitting, seeds=seeds, store=store, overwrite=overwrite)
    opened.splits.need_held_out()
    chosen = seeds or (opened.config.seed if seed is None else seed,)
    splits = tuple(_calibrate(opened, fitting, bins, each) for each in chosen)
    result = CalibrationResult(splits, _summary(splits) if seeds else None)
    return store_calibrator(opened, result) if store else result


def store_calibrator(run: Run, result: CalibrationResult) -> CalibrationResult:
    """Keep a fitted calibrator in the checkpoint, beside the weights that it belongs to.

    Args:
        run: Whose classifier was calibrated.
        result: From `calibrate`.

    Raises:
        UsageError: If nothing was fitted, or a training is writing to the run.
        ResourceError: If the checkpoint cannot be written; it is then as it was.
    """
    if result.calibrator is None:
        raise UsageError("nothing was fitted, so nothing can be stored", "store")
    checkpoint = run.checkpoint
    if (checkpoint.run / CONFIG).is_file():
        lock_run(checkpoint.run)  # a training would replace the checkpoint under our hands
    annotate_checkpoint(checkpoint.path, {FACT: result.calibrator.model_dump(mode="json")})
    run.listener.note(f"stored in {checkpoint.path}")
    return replace(result, stored=True)


def _calibrate(run: Run, fitting: Fitting, bins: int, seed: int) -> SplitCalibration:
    """Fit on some images; measure before and after calibration on the others."""
    fit, report = parts(run, fitting, seed)
    logits, labels = _logits(run, report)
    before, panel = _measure(logits.log_softmax(dim=1), labels, bins)
    panels = {"as trained": panel}
    stored = _calibrator(run, fitting, fit, seed)
    measured = f"{bins} bins, n = {len(labels)} {noun(report)} of {report.name}"
    if stored is None:
        return SplitCalibration(before, None, panels, None, f"uncalibrated, {measured}")
    method = stored.calibrator.method
    after, panels[method] = _measure(stored.calibrator.log_probabilities(logits), labels, bins)
    fitted, rows = f"{method} fitted on {stored.fitted.n}", noun(report)
    protocol = f"{fitted} {rows} ({stored.fitted.data}); {measured}"
    if after.nll > before.nll:
        worse = f"{method} raises the NLL of the reported {rows}, from {before.nll:.4g} to"
        why = f"{stored.fitted.n} fitting {rows} say too little, or are of another kind"
        run.listener.warn(f"{worse} {after.nll:.4g}: {why}")
    return SplitCalibration(before, after, panels, stored, protocol)


def _measure(log_probabilities: Tensor, labels: Tensor, bins: int) -> tuple[Calibration, Bins]:
    panel = top_label_bins(log_probabilities.exp(), labels, bins)
    return measure_calibration(log_probabilities, labels, bins), panel


def _calibrator(
    run: Run, fitting: Fitting, fit: Source | None, seed: int
) -> StoredCalibrator | None:
    """Return the stored calibrator, or fit one; None if there is none to apply."""
    if fitting.method == "stored":
        return stored_calibrator(run.checkpoint)
    if fit is None:
        return None
    logits, labels = _logits(run, fit)
    _warn_of_absent_classes(run, labels, noun(fit, 1))
    calibrator = CALIBRATORS[fitting.method].fit(logits, labels)
    share = None if fitting.data else fitting.share or SHARE
    fitted = FittedOn(
        data=fit.name,
        fingerprint=(fit if share is None else run.splits.test).fingerprint,
        n=len(labels),
        share=share,
        seed=None if share is None else seed,
    )
    return StoredCalibrator(calibrator=calibrator, fitted=fitted)


def _logits(run: Run, source: Source) -> tuple[Tensor, Tensor]:
    """Return logits [N, C] float64 and classes [N] of the images that can be read.

    As in every evaluation the network is in evaluation mode, and images are centre-cropped.
    """
    found = run.features(source)
    labels, known = need_labels(source), run.classes
    labels = match_classes(labels, source.class_names, known, noun(source))
    logits = logits_of(need_classifier(run.checkpoint), found.features)
    return logits, torch.from_numpy(labels)[found.rows]


def _warn_of_absent_classes(run: Run, labels: Tensor, row: str) -> None:
    seen = set(labels.tolist())
    absent = [name for index, name in enumerate(run.classes) if index not in seen]
    if absent:
        named = f"{', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}"
        what = f"{len(absent)} classes have no {row} to fit on ({named})"
        run.listener.warn(f"{what}: nothing is learnt about their probabilities")


def _summary(splits: Sequence[SplitCalibration]) -> dict[str, Summary]:
    """Return mean and deviation of each metric over splits; counts are the same for all."""
    each = [split.metrics() for split in splits]
    return summarise([{k: v for k, v in one.items() if k not in COUNTS} for one in each])
