"""The options of `ssl calibrate`, checked, and the division of its data for fit and test."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sslcli.cli.evaluation import Evaluation
from sslcli.cli.syntax import parse_seeds
from sslcli.data.sources.base import Source, Subset, labelled, need_labels
from sslcli.data.sources.files import same_data
from sslcli.data.sources.open import open_source
from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import UsageError
from sslcli.evaluate.calibration.calibrators import CALIBRATORS
from sslcli.evaluate.calibration.stored import FACT, FittedOn, fitting_rows
from sslcli.evaluate.classifier import need_classifier
from sslcli.evaluate.learned import expect_unseen
from sslcli.listener import warn_of

MEASURES = ("top1", "ece", "ece_mass", "classwise_ece", "mce", "nll", "brier")
COUNTS = ("n", "n_fit")
SHARE = 0.5  # of the held-out images is fitted on


@dataclass(frozen=True)
class Fitting:
    """The options of `ssl calibrate` that say what is fitted, on what, and whether it is kept."""

    method: Literal["temperature", "vector", "isotonic", "stored", "none"]
    data: str | None
    share: float | None
    bins: int
    store: bool
    overwrite: bool
    seeds: str | None

    @property
    def fits(self) -> bool:
        """Whether anything is fitted at all."""
        return self.method in CALIBRATORS

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise UsageError unless the options go together and the checkpoint has what they need."""
        need_classifier(checkpoint)
        given = {"--store": self.store, "--seeds": self.seeds, "--fit-data": self.data,
                 "--fit-share": self.share}  # fmt: skip
        for option, value in given.items():
            if value and not self.fits:
                hint = f"leave it out, or choose --method {', '.join(CALIBRATORS)}"
                raise UsageError(f"--method {self.method} fits nothing", option, hint)
        if self.data and self.share:
            raise UsageError(
                "--fit-data is fitted on whole", "--fit-share", "leave out one of them"
            )
        if self.store and self.seeds:
            hint = "leave out one of them; --seed says which split the stored one is fitted on"
            raise UsageError("one calibrator is stored, not one a seed", "--store", hint)
        if self.seeds:
            parse_seeds(self.seeds)
            if self.data:
                raise UsageError("--fit-data leaves no choice to a seed", "--seeds", "leave it out")
        there = FACT in checkpoint.facts
        if self.store and there and not self.overwrite:
            hint = "add --overwrite to replace it, or look at it with --method stored"
            raise UsageError("this checkpoint has a calibrator already", str(checkpoint.path), hint)
        if self.method == "stored" and not there:
            hint = "fit one first: ssl calibrate CKPT --store"
            raise UsageError("no calibrator is stored here", str(checkpoint.path), hint)


def known_metrics(fitting: Fitting) -> tuple[str, ...]:
    """Return the names that `--require` may use."""
    known = [*MEASURES, "n"]
    if fitting.method != "none":
        known += [*(f"{name}_before" for name in MEASURES), "n_fit"]
    if fitting.method in ("temperature", "stored"):
        known.append("temperature")
    deviations = [f"{name}_deviation" for name in known if name not in COUNTS]
    return (*known, *deviations, "seeds") if fitting.seeds else tuple(known)


def parts(
    evaluation: Evaluation, fitting: Fitting, seed: int, stored: FittedOn | None
) -> tuple[Source | None, Source]:
    """Return the images to fit on, if any, and those to report on; no image is in both.

    Args:
        evaluation: The data.
        fitting: What to fit on.
        seed: Decides which share of the held-out images is fitted on.
        stored: What the checkpoint's calibrator was fitted on, when that is the one applied.

    Raises:
        UsageError: If what would be reported on was fitted on, or trained on.
    """
    test = evaluation.splits.test
    if stored:
        return None, _unseen_by(stored, test)
    if not fitting.fits:
        return None, test
    if fitting.data:
        return _fit_data(evaluation, fitting.data), test
    return _divided(test, fitting.share or SHARE, seed)


def _unseen_by(stored: FittedOn, test: Source) -> Source:
    if stored.share is None and is_fitted_on(stored, test, _whole(test)):
        hint = "name other images with --data or --test"
        raise UsageError("the stored calibrator was fitted on these images", test.name, hint)
    if stored.share is None or not is_fitted_on(stored, test, test.fingerprint):
        return test
    return _divided(test, stored.share, stored.seed or 0)[1]


def is_fitted_on(stored: FittedOn, test: Source, fingerprint: str) -> bool:
    """Tell whether a calibrator was fitted on this data; by name when an older version did it."""
    same = same_data(stored.fingerprint, fingerprint)
    names = test.name, f" of {test.name}, seed {stored.seed}"
    return stored.data.endswith(names) if same is None else same


def _fit_data(evaluation: Evaluation, spec: str) -> Source:
    data, bar = evaluation.config.data, evaluation.listener.bar("reading the data")
    found = open_source(
        spec,
        part=None,
        root=data.root,
        download=data.download,
        progress=bar,
        white_point=data.white_point,
    )
    warn_of(found.oddities, evaluation.listener)
    need_labels(found)
    hint = "name data that was neither trained on nor is reported on, or use --fit-share"
    for part, does in (("test", "is reported on"), ("train", "was trained on")):
        if _whole(found) == _whole(getattr(evaluation.splits, part)):
            raise UsageError(f"{found.name} also {does}", "--fit-data", hint)
    found = labelled(found)
    for remark in expect_unseen(evaluation.checkpoint, found):
        evaluation.listener.warn(remark)
    return found


def _divided(source: Source, share: float, seed: int) -> tuple[Source, Source]:
    chosen = fitting_rows(need_labels(source), share, seed)
    named = f"{share:.0%} of {source.name}, seed {seed}"
    return (
        Subset(source, np.flatnonzero(chosen), named),
        Subset(source, np.flatnonzero(~chosen), f"the rest of {source.name}"),
    )


def _whole(source: Source) -> str:
    """Return the fingerprint of the data set that a source is a part of."""
    return source.base.fingerprint if isinstance(source, Subset) else source.fingerprint
