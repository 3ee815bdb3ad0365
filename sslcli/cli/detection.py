"""Detect outside images: open data and network, fit scores, measure each outside set, publish."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from sslcli import assemble
from sslcli.cli.evaluation import DataChoice, Evaluation, open_evaluation
from sslcli.cli.fitting import is_fitted_on
from sslcli.cli.outside import open_outside
from sslcli.cli.requirement import Requirement
from sslcli.cli.show import Show
from sslcli.config.presets import config_hash
from sslcli.data.sources.far import PSEUDO_OUTLIERS, FarSource
from sslcli.data.sources.open import Source
from sslcli.data.sources.splits import Subset
from sslcli.errors import DataError
from sslcli.evaluate.calibration.stored import stored_calibrator
from sslcli.evaluate.classifier import (
    class_names,
    find_classes,
    linear_classifier,
    strange_classes,
)
from sslcli.evaluate.ood.bootstrap import Bootstrap
from sslcli.evaluate.ood.detect import fit_scores, measure, validation_rows
from sslcli.evaluate.ood.metrics import METRICS
from sslcli.evaluate.ood.scores import SCORES, Score, named_score
from sslcli.evaluate.ood.seen import Known, Seen
from sslcli.workflows.density import density_of


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `ssl ood-detect --help`."""

    ckpt: str
    choice: DataChoice
    ood: Sequence[str]
    scores: Sequence[str]
    tune: bool
    set_: Sequence[str]
    seed: int | None
    device: str
    precision: str | None
    require: Sequence[str]
    dry_run: bool


def detect(request: Request, show: Show) -> None:
    """Run the whole command."""
    from sslcli.cli.reports.detection import Report

    scores = [named_score(name) for name in dict.fromkeys(request.scores)] or list(SCORES)
    evaluation = _open(request, show)
    outside = open_outside(evaluation, request.ood)
    required = _requirements(request.require, scores, list(outside))
    if request.dry_run:
        _plan(evaluation, outside, scores)
        return
    network = Network(evaluation)
    known, pseudo = network.known(tune=request.tune)
    fitted, left_out = fit_scores(scores, known, pseudo, named=bool(request.scores))
    for why in dict.fromkeys(left_out.values()):
        names = ", ".join(name for name, reason in left_out.items() if reason == why)
        show.note(f"left out: {names}: {why}")
    inside = network.see(evaluation.splits.test)
    if any(each.score.calibrated for each in fitted):
        network.warn_of_calibration()
    if strange := network.strange_classes(inside):
        show.warn(f"{strange}; there is no accuracy inside")
    own = {each.score.name: each.run(inside) for each in fitted}
    evaluation = replace(evaluation, require=required)
    report = Report(evaluation, known, fitted, left_out, network.accuracy(inside))
    for name, source in outside.items():
        seen = network.see(source)
        values = {each.score.name: (own[each.score.name], each.run(seen)) for each in fitted}
        bootstrap = Bootstrap(len(inside.features), len(seen.features), evaluation.config.seed)
        report.add(name, values, measure(values, name, bootstrap))
    report.publish()


def _open(request: Request, show: Show) -> Evaluation:
    """Open checkpoint and inside data, which need no labels."""
    evaluation = open_evaluation(
        request.ckpt, request.choice, show, set_=request.set_, seed=request.seed,
        device=request.device, precision=request.precision, labelled=False,
    )  # fmt: skip
    splits = evaluation.splits
    if not len(splits.test):
        raise DataError("there is no held-out image", splits.train.name, "give some with --test")
    return evaluation


def _requirements(
    texts: Sequence[str], scores: Sequence[Score], outside: Sequence[str]
) -> list[Requirement]:
    """Read the gates, once it is known which metrics there can be."""
    pairs = [f"{metric}/{score.name}" for metric in METRICS for score in scores]
    names = [*pairs, *(f"{pair}/{name}" for pair in pairs for name in outside), "top1"]
    return [Requirement.parse(text, names) for text in texts]


def _plan(evaluation: Evaluation, outside: dict[str, Source], scores: Sequence[Score]) -> None:
    splits = evaluation.splits
    images = {"train": len(splits.train), "test": len(splits.test)}
    images |= {name: len(source) for name, source in outside.items()}
    evaluation.show.table("", ("part", "images to encode"), list(images.items()))
    evaluation.show.result(
        dry_run=True,
        images=images,
        scores=[score.name for score in scores],
        config_hash=config_hash(evaluation.config),
    )


class Network:
    """A checkpoint's encoder and, where it has one, its linear classifier.

    Args:
        evaluation: Checkpoint, data and encoder.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.classifier = linear_classifier(evaluation.checkpoint)
        self.stored = stored_calibrator(evaluation.checkpoint)

    @cached_property
    def whole(self) -> nn.Module:
        """Images to logits, or to features without a classifier, on the evaluation's device."""
        encoder = self.evaluation.encoder
        if self.classifier is None:
            return encoder
        return nn.Sequential(encoder, copy.deepcopy(self.classifier).to(self.evaluation.device))

    def see(self, source: Source) -> Seen:
        """Return what the network makes of a data set, from the cache when it has it."""
        return self._see(source)[0]

    def _see(self, source: Source) -> tuple[Seen, np.ndarray]:
        found = self.evaluation.features(source)
        labels = None if source.labels is None else assemble.labels_of(source, found)
        bare = Seen(found.features, None, labels, lambda module: self._run(module, source))
        seen = bare.with_features(found.features, self.classifier) if self.classifier else bare
        return seen, found.rows.numpy()

    def known(self, *, tune: bool) -> tuple[Known, Seen | None]:
        """Return what scores are fitted on, and the pseudo-outliers when they are to be tuned."""
        config, train = self.evaluation.config, self.evaluation.splits.train
        seen, rows = self._see(train)
        held = validation_rows(len(train), config.seed)
        kept = np.setdiff1d(np.arange(len(train)), held)
        rest, part = (Subset(train, each, f"{len(each)} of {train.name}") for each in (kept, held))
        is_held = torch.from_numpy(np.isin(rows, held))
        if bool(is_held.all()) or not bool(is_held.any()):
            hint = "scores are fitted on nine tenths and tuned on the rest; give more with --data"
            raise DataError("there are too few training images", train.name, hint)
        known = Known(
            train=seen.pick(~is_held, lambda module: self._run(module, rest)),
            validation=seen.pick(is_held, lambda module: self._run(module, part)),
            network=self.whole,
            classifier=self.classifier,
            std=config.data.std,
            density=density_of(self.evaluation.checkpoint, self.evaluation.device, config.seed),
            calibrator=self.stored.calibrator if self.stored else None,
        )
        if not tune:
            return known, None
        return known, self.see(FarSource(PSEUDO_OUTLIERS, part, config.data, config.seed))

    def _run(self, module: nn.Module, source: Source) -> Tensor:
        features: Tensor = self.evaluation.features(source, module).features
        return features

    def warn_of_calibration(self) -> None:
        """Warn when the stored calibrator was fitted on some of the images that are tested."""
        inside = self.evaluation.splits.test
        if self.stored and is_fitted_on(self.stored.fitted, inside, inside.fingerprint):
            what = f"the stored calibrator was fitted on {self.stored.fitted.n:,} of the inside"
            why = "so scores of probabilities have seen their labels"
            self.evaluation.listener.warn(f"{what} images, {why}")

    @property
    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The classes of the inside data, and those of the classifier."""
        return self.evaluation.splits.test.class_names, class_names(self.evaluation.checkpoint)

    def strange_classes(self, seen: Seen) -> str:
        """Say how many inside images are of classes that the classifier does not know."""
        if seen.logits is None or seen.labels is None:
            return ""
        return strange_classes(seen.labels.numpy(), *self._names)

    def accuracy(self, seen: Seen) -> float | None:
        """Return the classifier's top-1 on labelled images of its classes, else None."""
        if seen.logits is None or seen.labels is None or self.strange_classes(seen):
            return None
        labels = torch.from_numpy(find_classes(seen.labels.numpy(), *self._names))
        return float((seen.logits.argmax(dim=1) == labels).double().mean())
