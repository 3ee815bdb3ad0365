"""Train a student on the probabilities of a teacher, on images that need no labels."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sslcli import assemble
from sslcli.config.evaluation import DistillationConfig
from sslcli.config.schema import Config, Logger
from sslcli.data.sources.open import Source
from sslcli.data.sources.splits import Splits
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.loop import Training
from sslcli.engine.stop import Stop, seconds
from sslcli.errors import UsageError
from sslcli.evaluate.classifier import find_classes, strange_classes
from sslcli.evaluate.metrics import accuracy, ranking
from sslcli.evaluate.seeds import repeat
from sslcli.listener import QUIET, Listener
from sslcli.methods.base import HasClassifier, Method
from sslcli.methods.classifier import whole_classifier
from sslcli.methods.registry import method_class
from sslcli.workflows.place import Place
from sslcli.workflows.run import Run, load
from sslcli.workflows.training import device_of, expect_one, taking_part
from sslcli.workflows.transfer import AVERAGED, Repeated, Transfer, briefly, config_of


@dataclass(frozen=True)
class DistillResult(Repeated):
    """The accuracy of student and teacher on the test part.

    Attributes:
        agreement: Share of the images that both give the same class.
        n: Number of images.
        top1: Share whose class the student ranks first; None without labels of the teacher's
            classes.
        top5: Share whose class is among the student's first five; None below six classes too.
        protocol: How the student was made, in one line.
        top1_teacher: As `top1`, of the teacher.
        run: Folder of the training, the first seed's when there are several.
        mean_per_class: Mean of the classes' own shares, as `top1`.
    """

    agreement: float
    n: int
    top1: float | None
    top5: float | None
    protocol: str
    run: Path
    top1_teacher: float | None = None
    mean_per_class: float | None = None


def distill(
    teacher: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    method: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    data_root: str | None = None,
    download: bool = False,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    max_time: str | float | None = None,
    log: Logger | None = None,
    devices: int = 1,
    device: str = "auto",
    precision: str | None = None,
    fit: bool = False,
    listener: Listener = QUIET,
) -> DistillResult:
    """Train a student on a teacher's probabilities, on images that need no labels.

    The student has the teacher's encoder unless `overrides` change it. The recipe is the config's
    evaluation.distill (Chen et al. 2020, arXiv:2006.10029, section 2).

    Args:
        teacher: A run with a classifier, such as that of `finetune`: its directory, a checkpoint,
            or what `load` returned; see `load` for this and for `data`, `test`, `method`,
            `overrides`, `seed`, `device`, `precision`, `data_root`, `download` and `listener`.
        data: The images to learn from, when not the teacher's.
        test: The data to test on.
        method: The class of a checkpoint whose method is a user's own.
        overrides: Changes of the config.
        seed: Instead of the checkpoint's.
        seeds: Repeat over these seeds; accuracies are then means.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        out: Where the training goes; None for the folder "distill" beside the teacher.
        resume: Go on with the training that is there.
        overwrite: Replace the training that is there.
        max_time: When to stop with the state saved: seconds, or a text such as "3h55m".
        log: Where the rows of metrics.jsonl go, too; see `pretrain`.
        devices: No more than 1; several need the command line or torchrun.
        device: Where to train.
        precision: Instead of the checkpoint's.
        fit: Change the recipe by the least that makes the training fit the free memory.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing or does not fit, the loss is not finite, or time is up.
        KeyboardInterrupt: On Ctrl-C, once the state is saved.
    """
    expect_one(devices)
    stop = Stop(seconds(max_time))
    with taking_part(device_of(teacher, device), listener.note) as where:
        opened = load(
            teacher, data=data, test=test, data_root=data_root, download=download,
            overrides=overrides, seed=seed, device=str(where), precision=precision, method=method,
            listener=listener,
        )  # fmt: skip
        place = Place(str(out or opened.checkpoint.run / "distill"), resume, overwrite)
        return Distillation(opened, place, stop, seeds or (), log, fit=fit).result()


class Distillation(Transfer):
    """One student trained on the data of its teacher; call it with a seed.

    The checkpoint is the teacher. The student has the encoder of its config, with what was changed
    in it, and starts with fresh weights, or those of `encoder.weights`.
    """

    section = "evaluation.distill"

    def splits(self) -> Splits:
        """Return the data under the names of the teacher's classes, which the student learns."""
        return replace(self.run.splits, train=self._train())

    def _train(self) -> Source:
        """Return the images that the teacher labels, their own labels numbered as its classes.

        Where it does not know one of them there are none.
        """
        train, known = copy(self.run.splits.train), self._classes
        if train.labels is not None:
            found = find_classes(train.labels, train.class_names, known)
            train.labels = found if (found >= 0).all() else None
        train.class_names = known
        return train

    def recipe(self, seed: int) -> tuple[Config, Source]:
        """Return the config of a seed's run and the images that the teacher labels."""
        config, source = self.run.config, self._train()
        recipe, known = _recipe(config), self._classes
        if recipe.alpha < 1 and source.labels is None:
            what = f"labels are learned too, and {source.name} has none, or other classes"
            hint = "set it to 1, or use data labelled with the teacher's classes"
            raise UsageError(what, "evaluation.distill.alpha", hint)
        method = {"name": "distill", "num_classes": len(known)}
        method |= recipe.model_dump(include={"temperature", "alpha"})
        return config_of(config, method, recipe, source, seed), source

    def method(self, config: Config) -> Method:
        """Return the student with its teacher."""
        teacher = self._teacher  # opening it draws numbers, which must come before the seed
        torch.manual_seed(config.seed)
        encoder = assemble.fresh_encoder(config)
        assemble.load_start_weights([encoder], config, self.listener.note)
        return method_class(config.method.name)(config.method, encoder, teacher)

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        """The names of the teacher's classes.

        Raises:
            UsageError: If it has none, and the data has another number of classes.
        """
        if self.run.classes:
            return self.run.classes
        count = len(self.run.splits.train.class_names)
        what = "the teacher's classes have no names, and the data has not as many"
        hint = f"it takes data of as many, in the same order; this has {count}"
        raise UsageError(what, "data", hint)

    @cached_property
    def _teacher(self) -> nn.Module:
        """The classifier of the checkpoint, which every seed's student learns from."""
        run = self.run
        return assemble.place(load_teacher(run.checkpoint), run.config, run.device)

    def test(self, training: Training) -> dict[str, Any]:
        """Return how often student and teacher agree on the test part, and how often each is right.

        Without labels they agree or not, and that is all.
        """
        test, method = self.run.splits.test, training.method
        assert isinstance(method, HasClassifier)
        own = self.logits(whole_classifier(method), training.config)
        theirs = self.logits(self._teacher, training.config).features
        same = own.features.argmax(dim=1) == theirs.argmax(dim=1)
        measured: dict[str, Any] = {"agreement": same.double().mean().item(), "n": len(same)}
        measured |= {"top1": None, "top5": None, "protocol": self._protocol(training.config)}
        if test.labels is None:
            return measured
        known = self._classes
        if strange := strange_classes(test.labels, test.class_names, known):
            self.listener.warn(f"{strange}: no accuracy is measured")
            return measured
        labels = torch.from_numpy(find_classes(test.labels, test.class_names, known))[own.rows]
        student, teacher = (
            accuracy(ranking(logits), labels, len(known), measured["protocol"])
            for logits in (own.features, theirs)
        )
        return {**measured, **student.as_dict(), "top1_teacher": teacher.top1}

    def result(self) -> DistillResult:
        """Train and measure, once or once a seed."""
        found, summaries = repeat(self, self.seeds, self.run.config.seed, AVERAGED)
        return DistillResult(**found, over_seeds=summaries)

    def _protocol(self, config: Config) -> str:
        recipe = _recipe(config)
        return f"distill, T = {recipe.temperature:g}, alpha = {recipe.alpha:g}, {briefly(config)}"


def _recipe(config: Config) -> DistillationConfig:
    """Return how a student of images is trained.

    Raises:
        UsageError: If the encoder reads no images, or the preset has no recipe.
    """
    _ = assemble.pixels_of(config)
    if config.evaluation.distill is None:
        hint = "train the teacher from a preset that has one"
        raise UsageError("the teacher's preset has no recipe", "evaluation.distill", hint)
    return config.evaluation.distill


def load_teacher(checkpoint: Checkpoint) -> nn.Module:
    """Rebuild the classifier of a run, encoder and all that follows it, in evaluation mode.

    Raises:
        UsageError: If the run has none.
        CheckpointError: If its tensors do not fit the config it carries.
    """
    method = assemble.load_method(checkpoint)
    if not isinstance(method, HasClassifier):
        hint = "train one with `finetune()`, and name its run directory"
        raise UsageError("this run has no classifier to learn from", str(checkpoint.path), hint)
    return whole_classifier(method).eval()
