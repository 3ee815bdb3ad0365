"""Measure how accurate a classifier stays under attack and on spoilt images."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslcli.data.evaluation import eval_batches
from sslcli.data.sources.base import need_labels
from sslcli.data.sources.splits import Subset
from sslcli.errors import UsageError
from sslcli.evaluate.classifier import match_classes
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
from sslcli.listener import QUIET, Bar, Listener
from sslcli.methods.base import HasSampler
from sslcli.methods.classifier import Classifier
from sslcli.methods.custom import section_of
from sslcli.perturb.sgld import Langevin
from sslcli.workflows.classified import Classified
from sslcli.workflows.density import methods_with, refinement_of
from sslcli.workflows.robust_result import RobustResult, result_of
from sslcli.workflows.run import Run, load
from sslcli.workflows.trial import Trial, Tried, make_trial

_BATCH = 128  # images at a time: gradients keep the activations
_UNIT = {"linf": 1 / 255, "l2": 1.0}  # of radii


def robust_eval(
    run: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    count: int | None = None,
    eps: Sequence[float | int] | None = None,
    eps_l2: Sequence[float | int] | None = None,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 5,
    autoattack: bool = False,
    refine: Sequence[int] = (),
    noise: float | None = None,
    replicas: int = 5,
    verdicts: int = 150,
    corruption: Sequence[str] | None = None,
    method: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    data_root: str | None = None,
    download: bool = False,
    device: str = "auto",
    precision: str | None = None,
    listener: Listener = QUIET,
) -> RobustResult:
    """Measure a classifier under PGD, AutoAttack and the corruptions of CIFAR-10-C.

    PGD is that of Madry et al. 2018 (arXiv:1706.06083), with random starts; JEM-k is attacked
    through its refinement (Grathwohl et al. 2020, arXiv:1912.03263); corruptions are those of
    Hendrycks & Dietterich 2019 (arXiv:1903.12261). AutoAttack (Croce & Hein 2020,
    arXiv:2003.01690) and corruptions meet the plain classifier. A run without a classifier gets the
    linear probe of `linear_eval`, which is attacked through the encoder.

    Args:
        run: A run directory, a checkpoint, or what `load` returned.
        data: The data set, when not the checkpoint's.
        test: The data to test on.
        count: Test images to use, drawn by the seed; None for all.
        eps: Radii of L-inf attacks in levels of 255; None for 1, 2, 4 and 8.
        eps_l2: Radii of L2 attacks, Euclidean over images in [0, 1]; None for 0.25, 0.5 and 1.
        steps: PGD steps a restart.
        step_size: Length of a step, as a share of the radius; None for 2.5 / steps.
        restarts: Random starts; each image keeps its best adversarial.
        autoattack: Add AutoAttack at the same radii; needs the extra attack.
        refine: Attack each JEM-k, k refinement steps up log p(x), instead of the plain classifier.
        noise: Deviation of JEM-k's noise, in the network's range of images; None for training's.
        replicas: Draws of the noise that JEM-k's attack averages a gradient over.
        verdicts: Draws whose mean logits decide whether JEM-k is right.
        corruption: Names of corruptions; None for all, an empty list for none.
        method: See `load`.
        overrides: Changes of the config.
        seed: Decides the images of `count`, starts, corruptions and noise, instead of the
            checkpoint's; the images that are held out stay the same.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        device: Where to run.
        precision: Arithmetic; None for an opened run's own, or else fp32, as less rounds small
            steps of attacks away.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing, does not fit, or cannot be attacked so.
    """
    trial = make_trial(
        count=count, eps=eps, eps_l2=eps_l2, steps=steps, step_size=step_size, restarts=restarts,
        autoattack=autoattack, refine=refine, noise=noise, replicas=replicas, verdicts=verdicts,
        corruption=corruption,
    )  # fmt: skip
    opened = load(
        run, data=data, test=test, data_root=data_root, download=download, overrides=overrides,
        device=device, precision=precision or (None if isinstance(run, Run) else "fp32"),
        method=method, listener=listener,
    )  # fmt: skip
    if trial.eps and trial.eps[0] < 1:
        opened.listener.warn(f"eps counts levels of 255; {trial.eps[0]:g} is less than one level")
    return Robustness(opened, trial, seed).measure()


class Robustness:
    """A classifier with the conditions that it is measured under.

    Args:
        run: Checkpoint, data and encoder.
        trial: Settings.
        seed: Decides the subset of images, random starts, corruptions and noise; None for the
            config's.

    Raises:
        SslError: If the classifier is not linear, no image is there, or an attack does not apply.
    """

    def __init__(self, run: Run, trial: Trial, seed: int | None = None) -> None:
        self.run, self.trial = run, trial
        self.seed = run.config.seed if seed is None else seed
        trial.check_l2(run.pixels.image_size)
        self.classified, test = Classified(run), run.splits.test
        if trial.autoattack:
            need_autoattack(self.classified.count)
        self.sampler = self._sampler() if trial.refine else None
        run.splits.need_held_out()
        known = self.classified.classes
        self.labels = match_classes(need_labels(test), test.class_names, known)
        order = np.random.default_rng(self.seed).permutation(len(test))
        self.rows = np.sort(order[: trial.count or len(test)])
        self.stuck: Counter[str] = Counter()  # images that an attack held without a gradient

    @cached_property
    def plain(self) -> Defence:
        """The classifier as it is, without noise or refinement."""
        pixels = self.run.pixels
        seen = pixels.mean, pixels.std, self.run.precision
        return Defence(self.classified.network, *seen, space=pixels.space)

    def measure(self) -> RobustResult:
        """Try every condition on every image."""
        listener, conditions, n = self.run.listener, self.conditions(), len(self.rows)
        protocol = self.protocol()
        listener.note(protocol)
        labels = torch.from_numpy(self.labels)
        told = _progress(listener.bar("testing"), conditions, n)
        right = measure(self.plain.network, self._batches(), labels, conditions, self.seed, told)
        result = result_of(self.trial, right, self.stuck, protocol)
        self._warn_of_zero_gradients(result)
        return result

    def conditions(self) -> list[Condition]:
        """Return the conditions in the order of testing: clean, corruptions, PGD, AutoAttack."""
        trial, plain, clean = self.trial, self.plain, Tried()
        is_attacked = clean in trial.classifiers()
        first = [] if is_attacked else [attack_condition(plain, [clean.condition], [])]
        spoilt = [corruption_condition(each, plain, self.seed) for each in trial.corruptions]
        return [*first, *spoilt, *self._attacks(), *self._autoattacks()]

    def protocol(self) -> str:
        """Return the settings of the measurement, in one line."""
        trial, parts = self.trial, [f"{len(self.rows):,} test images, seed {self.seed}"]
        parts += self.classified.protocol
        if trial.eps or trial.eps_l2:
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
            margins = "{:g} to {:g}".format(*MARGINS)
            parts.append(f"AutoAttack on logits of a largest margin of {margins}")
        if trial.corruptions:
            parts.append("corruptions with CIFAR-10-C's numbers")
        return "; ".join(parts)

    def _attacks(self) -> list[Condition]:
        """Return a condition a classifier under PGD: first without attack, then at every radius."""
        trial = self.trial
        attacks = [
            PGD(norm, [radius * _UNIT[norm] for radius in radii], trial.steps, trial.step,
                trial.restarts, self.seed)
            for norm, radii in trial.radii.items()
        ]  # fmt: skip
        return [
            attack_condition(
                self.plain if each.refine is None else self._refined(each.refine),
                [tried.condition for tried in (each, *trial.attacks(each))],
                attacks,
                self._count_stuck,
            )
            for each in trial.classifiers()
        ]

    def _count_stuck(self, name: str, is_stuck: Tensor) -> None:
        self.stuck[name] += int(is_stuck.sum())

    def _autoattacks(self) -> list[Condition]:
        conditions = []
        for each in self.trial.autoattacks():
            assert each.norm
            attack = AutoAttack(each.norm, each.radius * _UNIT[each.norm], self.seed)
            conditions.append(autoattack_condition(self.plain, each.condition, attack))
        return conditions

    def _refined(self, steps: int) -> Defence:
        """Return the classifier that refines an image by `steps` steps first, JEM-k."""
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
        """Deviation of JEM-k's noise: the `noise` that was given, or else that of training.

        The paper's code adds none against L2 attacks; a `noise` of 0 does that.
        """
        asked = self.trial.noise
        return section_of(self.run.checkpoint.config).image_noise if asked is None else asked

    def _sampler(self) -> Langevin:
        """Return the sampler that refines images: that of training, or JEM's if training had none.

        Raises:
            UsageError: If the method learned no density.
        """
        checkpoint = self.run.checkpoint
        refinement = refinement_of(checkpoint)
        if refinement is None:
            what = f"{checkpoint.config.method.name} has no log p(x) to refine images by"
            known = methods_with(HasSampler, Classifier)
            raise UsageError(
                what, "refine", f"leave it out, or take a run of one of these: {known}"
            )
        return refinement

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images in [0, 1], whole levels of 255, and their rows in the test part."""
        test, config = self.run.splits.test, self.run.config
        raw = config.data.unscaled()
        chosen = torch.from_numpy(self.rows)
        some, used = Subset(test, self.rows, f"{len(self.rows)} of {test.name}"), []
        for images, rows in eval_batches(some, raw, _BATCH, self.run.device):
            used.append(rows.cpu())
            yield images, chosen[used[-1]]
        self.run.leave_out(some, torch.cat(used))

    def _warn_of_zero_gradients(self, result: RobustResult) -> None:
        row = max(result.rows, key=lambda row: row.zero_gradient or 0.0)
        if row.zero_gradient:
            self.run.listener.warn(
                f"{row.zero_gradient:.1%} of the images hold against {row.name} by a gradient of "
                "0, which proves nothing; AutoAttack also tries without one"
            )


def _progress(bar: Bar, conditions: Sequence[Condition], images: int) -> Callable[[str, int], None]:
    """Return a callback that moves the bar after a condition was tried on a batch of images.

    The bar counts passes through the network, of which conditions need different numbers.
    """
    passes = {each.names[-1]: each.passes for each in conditions}
    done, total = 0, images * sum(passes.values())

    def told(name: str, met: int) -> None:
        nonlocal done
        done += met * passes[name]
        bar(done, total)

    return told
