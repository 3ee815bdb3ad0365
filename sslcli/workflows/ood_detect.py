"""Tell images like the training data from others: fit scores, then measure them on both sets."""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslcli import assemble
from sslcli.config.pixels import Triple
from sslcli.data.sources.base import noun
from sslcli.data.sources.far import PSEUDO_OUTLIERS, FarSource
from sslcli.data.sources.open import Source
from sslcli.data.sources.splits import Subset
from sslcli.errors import DataError
from sslcli.evaluate.calibration.stored import StoredCalibrator, stored_calibrator
from sslcli.evaluate.classifier import (
    find_classes,
    linear_classifier,
    strange_classes,
)
from sslcli.evaluate.ood.bootstrap import RESAMPLES, Bootstrap
from sslcli.evaluate.ood.detect import Fitted, fit_scores, measure, validation_rows
from sslcli.evaluate.ood.scores import SCORES, Score, named_score
from sslcli.evaluate.ood.seen import Known, Seen
from sslcli.listener import QUIET, Listener
from sslcli.workflows.calibration_data import is_fitted_on
from sslcli.workflows.density import density_of
from sslcli.workflows.ood_result import OODResult, ScoreSettings
from sslcli.workflows.outside import open_outside
from sslcli.workflows.run import Run, load


def ood_detect(
    run: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    ood: str | Sequence[str] = (),
    score: str | Sequence[str] = (),
    tune: bool = True,
    method: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    data_root: str | None = None,
    download: bool = False,
    device: str = "auto",
    precision: str | None = None,
    listener: Listener = QUIET,
) -> OODResult:
    """Score how far images are from the training data, and measure how well scores part two sets.

    Every score rises towards the inside, the test images of the run. Scores are fitted on training
    images and never on test images.

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `data`, `test`, `method`, `overrides`, `seed`, `data_root`, `download`, `device`,
            `precision` and `listener`.
        data: The data set, when not the checkpoint's.
        test: The inside images to test on.
        ood: Outside data, one set or several: built-in far sets (`data.sources.far.KINDS`) by name,
            or any data; none for all the far sets.
        score: Names of `evaluate.ood.SCORES`, one or several; none for all that apply.
        tune: Choose settings on held-out training images and their jigsaws, or keep the published
            ones.
        method: Where the class lies that the checkpoint names; see `load`.
        encoder: The network of weights of another code; see `load`.
        preset: Whose images and protocols suit such weights; see `load`.
        overrides: Changes of the config.
        seed: Instead of the checkpoint's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        device: Where to run.
        precision: Instead of the checkpoint's.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing, does not fit, or was learned with its labels.
    """
    ood, score = ([each] if isinstance(each, str) else each for each in (ood, score))
    scores = chosen_scores(score)
    opened = load(
        run, data=data, test=test, data_root=data_root, download=download, overrides=overrides,
        seed=seed, device=device, precision=precision, method=method,
        encoder=encoder, preset=preset, listener=listener,
    )  # fmt: skip
    opened.splits.need_held_out()
    outside = open_outside(opened, ood)
    network = Network(opened)
    known, pseudo = network.known(tune=tune)
    fitted, left_out = fit_scores(scores, known, pseudo, named=bool(score))
    _tell_left_out(opened, left_out)
    inside = network.see(opened.splits.test)
    stored = network.stored if any(each.score.calibrated for each in fitted) else None
    _warn_of_labels(network, inside, stored)
    own = {each.score.name: each.run(inside) for each in fitted}
    values, measured = {}, []
    for name, source in outside.items():
        seen = network.see(source)
        values[name] = {each.score.name: (own[each.score.name], each.run(seen)) for each in fitted}
        bootstrap = Bootstrap(len(inside.features), len(seen.features), opened.config.seed)
        measured += measure(values[name], name, bootstrap)
    return OODResult(
        measured=tuple(measured),
        settings=tuple(ScoreSettings(f.score.name, f.settings, f.tuned_auroc) for f in fitted),
        left_out=left_out,
        top1=network.accuracy(inside),
        calibrator=stored,
        protocol=_protocol(known, fitted, stored, opened),
        values=values,
    )


def chosen_scores(names: Sequence[str]) -> list[Score]:
    """Return the scores of these names, each once; all scores when none is named.

    Raises:
        UsageError: If there is none of such a name.
    """
    return [named_score(name) for name in dict.fromkeys(names)] or list(SCORES)


class Network:
    """A checkpoint's encoder and, where it has one, its linear classifier.

    Args:
        run: The checkpoint and its data.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.classifier = linear_classifier(run.checkpoint)
        self.stored = stored_calibrator(run.checkpoint)

    @cached_property
    def whole(self) -> nn.Module:
        """Images to logits, or to features without a classifier, on the run's device."""
        if self.classifier is None:
            return self.run.encoder
        return nn.Sequential(self.run.encoder, copy.deepcopy(self.classifier).to(self.run.device))

    def see(self, source: Source) -> Seen:
        """Return the features and logits of a data set, from the cache if they are there."""
        return self._see(source)[0]

    def _see(self, source: Source) -> tuple[Seen, np.ndarray]:
        found = self.run.features(source)
        labels = None if source.labels is None else assemble.labels_of(source, found)
        bare = Seen(found.features, None, labels, lambda module: self._run(module, source))
        seen = bare.with_features(found.features, self.classifier) if self.classifier else bare
        return seen, found.rows.numpy()

    def _deviation(self) -> Triple | None:
        """Return the deviation of red, green and blue; None for a network that reads others."""
        if self.run.reads != "image" or self.run.pixels.space != "rgb":
            return None
        return self.run.pixels.std

    def known(self, *, tune: bool) -> tuple[Known, Seen | None]:
        """Return the data to fit scores on, and pseudo-outliers if scores are to be tuned."""
        config, train = self.run.config, self.run.splits.train
        reads_images = self.run.reads == "image"
        seen, rows = self._see(train)
        held = validation_rows(len(train), config.seed)
        kept = np.setdiff1d(np.arange(len(train)), held)
        rest, part = (Subset(train, each, f"{len(each)} of {train.name}") for each in (kept, held))
        is_held = torch.from_numpy(np.isin(rows, held))
        if bool(is_held.all()) or not bool(is_held.any()):
            hint = "scores are fitted on nine tenths and tuned on the rest; give more `data`"
            raise DataError(f"there are too few training {noun(train)}", train.name, hint)
        known = Known(
            train=seen.pick(~is_held, lambda module: self._run(module, rest)),
            validation=seen.pick(is_held, lambda module: self._run(module, part)),
            network=self.whole,
            classifier=self.classifier,
            std=self._deviation(),
            density=density_of(self.run.checkpoint, self.run.device, config.seed),
            calibrator=self.stored.calibrator if self.stored else None,
        )
        if tune and not reads_images:
            why = f"they are tuned on jigsaws of images, and the encoder reads {noun(train)}"
            self.run.listener.note(f"scores keep their published settings: {why}")
        if not tune or not reads_images:
            return known, None
        return known, self.see(FarSource(PSEUDO_OUTLIERS, part, self.run.pixels, config.seed))

    def _run(self, module: nn.Module, source: Source) -> Tensor:
        features: Tensor = self.run.features(source, module).features
        return features

    @property
    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The classes of the inside data, and those of the classifier."""
        return self.run.splits.test.class_names, self.run.classes

    def strange_classes(self, seen: Seen) -> str:
        """Say how many inside images are of classes that the classifier does not know."""
        if seen.logits is None or seen.labels is None:
            return ""
        return strange_classes(seen.labels.numpy(), *self._names, noun(self.run.splits.test))

    def accuracy(self, seen: Seen) -> float | None:
        """Return the classifier's top-1; None if an image lacks a label that it knows."""
        if seen.logits is None or seen.labels is None or self.strange_classes(seen):
            return None
        labels = torch.from_numpy(find_classes(seen.labels.numpy(), *self._names))
        return float((seen.logits.argmax(dim=1) == labels).double().mean())


def _tell_left_out(run: Run, left_out: Mapping[str, str]) -> None:
    """Note which scores do not apply and why, in one line a reason."""
    for why in dict.fromkeys(left_out.values()):
        names = ", ".join(name for name, reason in left_out.items() if reason == why)
        run.listener.note(f"left out: {names}: {why}")


def _warn_of_labels(network: Network, inside: Seen, stored: StoredCalibrator | None) -> None:
    """Warn of inside labels that a calibrator in use has seen, or that the classifier lacks."""
    test, warn = network.run.splits.test, network.run.listener.warn
    if stored and is_fitted_on(stored.fitted, test, test.fingerprint):
        what = f"the stored calibrator was fitted on {stored.fitted.n:,} of the inside {noun(test)}"
        warn(f"{what}, so scores of probabilities have seen their labels")
    if strange := network.strange_classes(inside):
        warn(f"{strange}; there is no accuracy inside")


def _protocol(
    known: Known, fitted: Sequence[Fitted], stored: StoredCalibrator | None, run: Run
) -> str:
    parts = [f"fitted on {len(known.train.features):,} training {noun(run.splits.train)}"]
    if any(each.tuned_auroc is not None for each in fitted):
        count = len(known.validation.features)
        parts.append(f"tuned on {count:,} others of them against their jigsaws")
    if stored:
        named = ", ".join(each.score.name for each in fitted if each.score.calibrated)
        method = stored.calibrator.method
        parts.append(f"{named} of probabilities calibrated by the stored {method}")
    parts.append("AUPR is average precision")
    parts.append(f"intervals from {RESAMPLES} resamples, seed {run.config.seed}")
    return "; ".join(parts)
