"""The images that a calibrator is fitted on, and those that it is reported on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sslcli.data.order import holdout_keys, stratified
from sslcli.data.sources.base import Source, Subset, labelled, need_labels, noun
from sslcli.data.sources.files import same_data
from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import UsageError
from sslcli.evaluate.calibration.calibrators import CALIBRATORS
from sslcli.evaluate.calibration.stored import FACT, FittedOn, stored_calibrator
from sslcli.evaluate.classifier import need_classifier
from sslcli.evaluate.learned import expect_unseen
from sslcli.workflows.run import Run

Kind = Literal["temperature", "vector", "isotonic", "stored", "none"]
SHARE = 0.5  # of the held-out images, to fit on


@dataclass(frozen=True)
class Fitting:
    """The calibrator to fit, and the images to fit it on.

    Attributes:
        method: A calibrator of `CALIBRATORS`; "stored" applies the checkpoint's, "none" applies
            none.
        data: Labelled data to fit on; None for a share of the held-out images.
        share: Share of each class's held-out images; None for `SHARE`.
    """

    method: Kind = "temperature"
    data: str | None = None
    share: float | None = None

    @property
    def fits(self) -> bool:
        """Whether anything is fitted at all."""
        return self.method in CALIBRATORS


def check_fitting(
    checkpoint: Checkpoint,
    fitting: Fitting,
    *,
    seeds: Sequence[int] = (),
    store: bool = False,
    overwrite: bool = False,
) -> None:
    """Raise UsageError unless the arguments go together and the checkpoint has what they need.

    Args:
        checkpoint: Whose classifier is calibrated.
        fitting: The calibrator to fit, and its images.
        seeds: One fit each; none for a single one.
        store: Whether the calibrator is to be kept in the checkpoint.
        overwrite: Whether it may replace one.
    """
    need_classifier(checkpoint)
    _check_arguments(fitting, seeds, store=store)
    there = FACT in checkpoint.facts
    if store and there and not overwrite:
        hint = "add `overwrite` to replace it, or look at it with `method` stored"
        raise UsageError("this checkpoint has a calibrator already", str(checkpoint.path), hint)
    if fitting.method == "stored" and not there:
        hint = "fit one first, with `calibrate()` and `store`"
        raise UsageError("no calibrator is stored here", str(checkpoint.path), hint)


def _check_arguments(fitting: Fitting, seeds: Sequence[int], *, store: bool) -> None:
    given = {"store": store, "seeds": seeds, "fit_data": fitting.data, "fit_share": fitting.share}
    for name, value in given.items():
        if value and not fitting.fits:
            hint = f"leave it out, or choose `method` {', '.join(CALIBRATORS)}"
            raise UsageError(f"`method` {fitting.method} fits nothing", name, hint)
    if fitting.data and fitting.share:
        raise UsageError("`fit_data` is fitted on whole", "fit_share", "leave out one of them")
    if store and seeds:
        hint = "leave out one of them; `seed` says which split the stored one is fitted on"
        raise UsageError("one calibrator is stored, not one a seed", "store", hint)
    if fitting.data and seeds:
        raise UsageError("`fit_data` leaves no choice to a seed", "seeds", "leave it out")


def parts(run: Run, fitting: Fitting, seed: int) -> tuple[Source | None, Source]:
    """Return the images to fit on, if any, and those to report on; no image is in both.

    Args:
        run: The checkpoint and its data.
        fitting: The calibrator to fit, and its images.
        seed: Decides which share of the held-out images is fitted on.

    Raises:
        UsageError: If the images to report on were trained on, or a calibrator was fitted on them.
    """
    test = run.splits.test
    if fitting.method == "stored" and (stored := stored_calibrator(run.checkpoint)):
        return None, _unseen_by(stored.fitted, test)
    if not fitting.fits:
        return None, test
    if fitting.data:
        return _fit_data(run, fitting.data), test
    return _divided(test, fitting.share or SHARE, seed)


def _unseen_by(stored: FittedOn, test: Source) -> Source:
    if stored.share is None and is_fitted_on(stored, test, _whole(test)):
        hint = f"name other {noun(test)} with `data` or `test`"
        what = f"the stored calibrator was fitted on these {noun(test)}"
        raise UsageError(what, test.name, hint)
    if stored.share is None or not is_fitted_on(stored, test, test.fingerprint):
        return test
    return _divided(test, stored.share, stored.seed or 0)[1]


def is_fitted_on(stored: FittedOn, test: Source, fingerprint: str) -> bool:
    """Tell whether a calibrator was fitted on this data.

    Data that an older version fitted on has no comparable fingerprint and is told by its name.
    """
    same = same_data(stored.fingerprint, fingerprint)
    names = test.name, f" of {test.name}, seed {stored.seed}"
    return stored.data.endswith(names) if same is None else same


def _fit_data(run: Run, spec: str) -> Source:
    found = run.open(spec)
    need_labels(found)
    hint = "name data that was neither trained on nor is reported on, or use `fit_share`"
    for part, does in (("test", "is reported on"), ("train", "was trained on")):
        if _whole(found) == _whole(getattr(run.splits, part)):
            raise UsageError(f"{found.name} also {does}", "fit_data", hint)
    found = labelled(found)
    for remark in expect_unseen(run.checkpoint, found, run.listener.bar):
        run.listener.warn(remark)
    return found


def _divided(source: Source, share: float, seed: int) -> tuple[Source, Source]:
    """Return the images to fit on and the others, the same ones on every machine."""
    labels = need_labels(source)
    chosen = stratified(labels, share, holdout_keys(len(labels), seed))
    named = f"{share:.0%} of {source.name}, seed {seed}"
    return (
        Subset(source, np.flatnonzero(chosen), named),
        Subset(source, np.flatnonzero(~chosen), f"the rest of {source.name}"),
    )


def _whole(source: Source) -> str:
    """Return the fingerprint of the data set that a source is a part of."""
    return source.base.fingerprint if isinstance(source, Subset) else source.fingerprint
