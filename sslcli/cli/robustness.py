"""Measure a classifier under every condition that `ssl robust-eval` is asked for."""

import copy
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslcli.cli.evaluation import Evaluation
from sslcli.cli.reports.robustness import Report
from sslcli.cli.robustness_plan import Trial, check_l2
from sslcli.cli.show import Show
from sslcli.cli.watch import PLAIN_EVERY_SECONDS, duration
from sslcli.config.presets import config_hash
from sslcli.data.evaluation import eval_batches
from sslcli.data.sources.base import need_labels
from sslcli.data.sources.splits import Subset
from sslcli.errors import DataError, UsageError
from sslcli.evaluate.classifier import class_names, match_classes, need_classifier
from sslcli.evaluate.robust.autoattack import MARGINS, AutoAttack, need_autoattack
from sslcli.evaluate.robust.defence import Defence
from sslcli.evaluate.robust.measure import (
    PGD,
    Condition,
    attack_condition,
    autoattack_condition,
    corruption_condition,
    measure,
)
from sslcli.perturb.adversarial import Norm
from sslcli.perturb.sgld import Langevin
from sslcli.workflows.density import refinement_of

_BATCH = 128  # images at a time: gradients keep the activations
_LEVEL = 1 / 255  # unit of L-inf radii


class Robustness:
    """One `ssl robust-eval` on an open evaluation.

    Args:
        evaluation: Checkpoint, data and encoder.
        trial: What to try.
        seed: Decides the subset of images, random starts, corruptions and noise.
    """

    def __init__(self, evaluation: Evaluation, trial: Trial, seed: int) -> None:
        self.evaluation, self.trial, self.seed = evaluation, trial, seed
        checkpoint, test = evaluation.checkpoint, evaluation.splits.test
        classifier = copy.deepcopy(need_classifier(checkpoint)).to(evaluation.device)
        if trial.autoattack:
            need_autoattack(classifier.out_features)
        if classifier.out_features < 2:
            what = "a classifier of one class is never wrong"
            raise UsageError(what, str(checkpoint.path), "take one of two classes or more")
        check_l2(trial, evaluation.config.data.image_size)
        self.sampler = self._sampler() if trial.refine else None
        if not len(test):
            hint = "name some with --test, or set data.holdout"
            raise DataError("no image is held out", evaluation.splits.train.name, hint)
        known = class_names(checkpoint)
        self.labels = match_classes(need_labels(test), test.class_names, known)
        self.network = nn.Sequential(evaluation.encoder, classifier).eval().requires_grad_(False)
        data = evaluation.config.data
        self.plain = Defence(self.network, data.mean, data.std, evaluation.precision)
        order = np.random.default_rng(seed).permutation(len(test))
        self.rows = np.sort(order[: trial.count or len(test)])
        self.stuck: Counter[str] = Counter()  # images that an attack held without a gradient

    def plan(self) -> None:
        """Say what would be tried; for `--dry-run`."""
        names = [name for condition in self.conditions() for name in condition.names]
        show, images = self.evaluation.show, len(self.rows)
        show.table("", ("condition", "images"), [(name, images) for name in names])
        show.result(
            dry_run=True, images=images, conditions=names,
            config_hash=config_hash(self.evaluation.config),
        )  # fmt: skip

    def run(self) -> None:
        """Try every condition on every image, then publish."""
        protocol, conditions = self.protocol(), self.conditions()
        self.evaluation.listener.note(protocol)
        watch = _Watch(self.evaluation.show, len(self.rows), conditions)
        labels = torch.from_numpy(self.labels)
        right = measure(self.network, self._batches(), labels, conditions, self.seed, watch)
        Report(self.evaluation, self.trial, protocol, right, self.stuck).publish()

    def conditions(self) -> list[Condition]:
        """Return all: the plain classifier, corruptions, attacks of refined ones, AutoAttack."""
        trial, plain = self.trial, self.plain
        is_attacked = None in trial.defences().values()
        first = [] if is_attacked else [attack_condition(plain, ["clean"], [])]
        spoilt = [corruption_condition(each, plain, self.seed) for each in trial.corruptions]
        return [*first, *spoilt, *self._attacks(), *self._autoattacks()]

    def protocol(self) -> str:
        """Return how it is measured, in one line."""
        trial, parts = self.trial, [f"{len(self.rows):,} test images, seed {self.seed}"]
        if trial.attacks():
            parts.append(
                f"PGD on the odds against the label, {trial.steps} steps of {trial.step:g} radii, "
                f"{trial.restarts} random starts, best adversarial kept"
            )
        if self.sampler:
            parts.append(
                f"JEM-k: noise {self._noise:g}, steps of {self.sampler.step_size:g} with noise "
                f"{self.sampler.noise:g}; BPDA, gradients over {trial.replicas} replicas, answers "
                f"over {trial.verdicts}"
            )
        if trial.autoattack:
            parts.append(
                "AutoAttack on logits of a largest margin of {:g} to {:g}".format(*MARGINS)
            )
        if trial.corruptions:
            parts.append("corruptions with CIFAR-10-C's numbers")
        return "; ".join(parts)

    def _attacks(self) -> list[Condition]:
        """Return PGD at all radii on each classifier that is attacked, after no attack."""
        trial = self.trial
        radii: dict[Norm, list[float]] = {"linf": [each * _LEVEL for each in trial.linf],
                                          "l2": list(trial.l2)}  # fmt: skip
        attacks = [
            PGD(norm, sizes, trial.steps, trial.step, trial.restarts, self.seed)
            for norm, sizes in radii.items()
        ]
        return [
            attack_condition(
                self.plain if steps is None else self._refined(steps),
                [f"{prefix}{name}" for name in ("clean", *trial.attacks())],
                attacks,
                self._count_stuck,
            )
            for prefix, steps in trial.defences().items()
        ]

    def _count_stuck(self, name: str, is_stuck: Tensor) -> None:
        self.stuck[name] += int(is_stuck.sum())

    def _autoattacks(self) -> list[Condition]:
        if not self.trial.autoattack:
            return []
        attacks = [AutoAttack("linf", each * _LEVEL, self.seed) for each in self.trial.linf]
        attacks += [AutoAttack("l2", each, self.seed) for each in self.trial.l2]
        return [
            autoattack_condition(self.plain, f"autoattack/{name}", attack)
            for name, attack in zip(self.trial.attacks(), attacks, strict=True)
        ]

    def _refined(self, steps: int) -> Defence:
        """Return JEM-k, k = `steps`."""
        assert self.sampler
        return replace(
            self.plain,
            noise=self._noise,
            refinement=replace(self.sampler, steps=steps),
            replicas=self.trial.replicas,
            verdicts=self.trial.verdicts,
        )

    @property
    def _noise(self) -> float:
        """Deviation of the noise of JEM-k: what was asked for, else that of training.

        The paper's code adds none against L2 attacks; `--noise 0` does that.
        """
        section: Any = self.evaluation.checkpoint.config.method
        return getattr(section, "data_noise", 0.0) if self.trial.noise is None else self.trial.noise

    def _sampler(self) -> Langevin:
        """Return what images are refined with: training's sampler, or JEM's where it had none.

        Raises:
            UsageError: If the method learned no density.
        """
        checkpoint = self.evaluation.checkpoint
        refinement = refinement_of(checkpoint)
        if refinement is None:
            what = f"{checkpoint.config.method.name} has no log p(x) to refine images by"
            raise UsageError(what, "--refine", "leave it out, or take a run of jem or hdge")
        return refinement

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images in [0, 1], whole levels of 255, and their rows in the test part."""
        test, config = self.evaluation.splits.test, self.evaluation.config
        raw = config.data.model_copy(update={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})
        chosen = torch.from_numpy(self.rows)
        some = Subset(test, self.rows, f"{len(self.rows)} of {test.name}")
        used = []
        for images, rows in eval_batches(some, raw, _BATCH, self.evaluation.device):
            used.append(rows.cpu())
            yield images, chosen[used[-1]]
        self.evaluation.leave_out(some, torch.cat(used))


class _Watch:
    """Show how far a trial is, and the time left once one batch has met all conditions.

    Args:
        show: The command's streams.
        images: How many there are.
        conditions: What each of them meets, in this order.
    """

    def __init__(self, show: Show, images: int, conditions: list[Condition]) -> None:
        self._show, self._images, self._bar = show, images, show.bar("testing")
        self._last, self._all = conditions[-1].names[-1], images * len(conditions)
        self._met, self._done, self._left = 0, 0, ""
        self._started = self._told = time.monotonic()

    def __call__(self, name: str, images: int) -> None:
        """Count one condition of one batch; off a terminal, say a line when one is due."""
        self._met, now = self._met + images, time.monotonic()
        if name == self._last:
            self._done += images
            pace = (now - self._started) / self._done
            self._left = f", left {duration(pace * (self._images - self._done))}"
        if self._show.err.is_terminal:
            self._bar(self._met, self._all)
        elif now - self._told > PLAIN_EVERY_SECONDS:
            self._told = now
            done = f"{self._done:,} of {self._images:,} images done{self._left}"
            self._show.note(f"{done}; the next ones have met {name}")
