"""Training of a student on the probabilities of a teacher, as one more kind of run."""

from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sslcli import assemble
from sslcli.cli.checkpoint_run import CheckpointRun, briefly, config_of
from sslcli.config.methods.labelled import DistillConfig
from sslcli.config.schema import Config, DistillationConfig
from sslcli.data.sources.open import Source
from sslcli.data.sources.splits import Splits
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.loop import Training
from sslcli.errors import UsageError
from sslcli.evaluate.classifier import class_names, find_classes, strange_classes
from sslcli.evaluate.metrics import accuracy, top_hits
from sslcli.methods.base import HasClassifier, Method
from sslcli.methods.distill import Distill
from sslcli.nn.encoders import build_encoder


class Distillation(CheckpointRun):
    """One student trained on an evaluation's data; call it with a seed.

    The evaluation's checkpoint is the teacher. The student has the encoder of its config, with what
    `--set` changed in it, and starts with fresh weights, or those of `encoder.weights`.
    """

    section = "evaluation.distill"

    def splits(self) -> Splits:
        """Return the data under the names of the teacher's classes, which the student learns."""
        return replace(self.evaluation.splits, train=self._train())

    def _train(self) -> Source:
        """Return the images that the teacher labels, their own labels numbered as its classes.

        Where it does not know one of them there are none.
        """
        train, known = copy(self.evaluation.splits.train), class_names(self.evaluation.checkpoint)
        if train.labels is not None:
            found = find_classes(train.labels, train.class_names, known)
            train.labels = found if (found >= 0).all() else None
        train.class_names = known
        return train

    def recipe(self, seed: int) -> tuple[Config, Source]:
        """Return the config of a seed's run and the images that the teacher labels."""
        config, source = self.evaluation.config, self._train()
        recipe, known = _recipe(config), class_names(self.evaluation.checkpoint)
        if recipe.alpha < 1 and source.labels is None:
            what = f"labels are learned too, and {source.name} has none, or other classes"
            hint = "set it to 1, or use data labelled with the teacher's classes"
            raise UsageError(what, "evaluation.distill.alpha", hint)
        method = {"name": "distill", "num_classes": len(known)}
        method |= recipe.model_dump(include={"temperature", "alpha"})
        return config_of(config, method, recipe, source, seed), source

    def method(self, config: Config) -> Method:
        """Return the student with its teacher."""
        assert isinstance(config.method, DistillConfig)
        device = self.evaluation.device
        teacher = assemble.place(load_teacher(self.evaluation.checkpoint), config, device)
        torch.manual_seed(config.seed)
        encoder = build_encoder(config.encoder, config.data.image_size)
        assemble.load_start_weights(encoder, config, self.evaluation.show.note)
        return Distill(config.method, encoder, teacher)

    def test(self, training: Training) -> dict[str, Any]:
        """Return how often student and teacher agree on the test part, and how often each is right.

        Without labels they agree or not, and that is all.
        """
        test, method = self.evaluation.splits.test, training.method
        assert isinstance(method, Distill)
        own = self.logits(nn.Sequential(method.encoder, method.classifier), training.config)
        theirs = self.logits(method.teacher, training.config).features
        same = own.features.argmax(dim=1) == theirs.argmax(dim=1)
        measured: dict[str, Any] = {"agreement": same.double().mean().item(), "n": len(same)}
        measured |= dict.fromkeys(("top1", "top5", "top1_teacher"))
        if test.labels is None:
            return measured
        known = class_names(self.evaluation.checkpoint)
        if strange := strange_classes(test.labels, test.class_names, known):
            self.evaluation.listener.warn(f"{strange}: no accuracy is measured")
            return measured
        labels = torch.from_numpy(find_classes(test.labels, test.class_names, known))[own.rows]
        student, teacher = (
            accuracy(top_hits(logits, labels), len(known), self._protocol(training.config))
            for logits in (own.features, theirs)
        )
        return {**measured, **student.as_dict(), "top1_teacher": teacher.top1}

    def _protocol(self, config: Config) -> str:
        recipe = _recipe(config)
        return f"distill, T = {recipe.temperature:g}, alpha = {recipe.alpha:g}, {briefly(config)}"


def _recipe(config: Config) -> DistillationConfig:
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
        hint = "train one with ssl finetune, and name its run directory"
        raise UsageError("this run has no classifier to learn from", str(checkpoint.path), hint)
    return nn.Sequential(method.encoder, method.classifier).eval()
