"""Training with labels on top of a checkpoint: fine-tuning and the papers' linear probe."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sslcli import assemble
from sslcli.cli.evaluation import Evaluation
from sslcli.cli.train import Place, train_run
from sslcli.cli.watch import Bar
from sslcli.config.schema import Config
from sslcli.data.sources import Source
from sslcli.data.splits import Subset
from sslcli.engine.loop import Training
from sslcli.engine.stop import Stop
from sslcli.errors import UsageError
from sslcli.evaluate.metrics import accuracy, top_hits
from sslcli.methods.registry import method_class
from sslcli.methods.supervised import Finetune, LinearProbe

Kind = Literal["linear-probe", "finetune"]


class Supervised:
    """One supervised training on an evaluation's data; call it with a seed.

    Args:
        evaluation: Checkpoint, data and encoder.
        kind: "linear-probe" freezes the encoder, "finetune" trains it too.
        place: Where the run goes; further seeds go beside it.
        stop: Signals and time limit.
        label_fraction: Share of the training labels used, the same share of every class.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        kind: Kind,
        place: Place,
        stop: Stop,
        label_fraction: float = 1.0,
    ) -> None:
        self.evaluation, self.kind, self.place, self.stop = evaluation, kind, place, stop
        self.label_fraction = label_fraction

    def __call__(self, seed: int) -> dict[str, Any]:
        """Train, then return the accuracy on the test part."""
        other = seed != self.evaluation.config.seed
        place = replace(self.place, out=f"{self.place.out}-seed{seed}") if other else self.place
        run = place.folder(self.evaluation.config)
        training = self.training(seed)
        place.prepare(run, training.config)
        show, splits = self.evaluation.show, self.evaluation.splits
        train_run(training, splits, run, self.stop, show, resume=place.resume)
        return self._test(training, run)

    def training(self, seed: int) -> Training:
        """Return the training of a seed, at step 0."""
        evaluation = self.evaluation
        source = evaluation.splits.train
        if source.labels is None:
            hint = "use a folder or archive with one sub-folder a class"
            raise UsageError("this needs labels, and the data has none", source.name, hint)
        if self.label_fraction < 1:
            source = labelled_share(source, self.label_fraction, seed)
        config = supervised_config(evaluation.config, self.kind, source, seed)
        torch.manual_seed(seed)
        encoder = assemble.load_encoder(evaluation.checkpoint, evaluation.device).train()
        method = method_class(self.kind)(config.method, encoder)
        return assemble.build_training(
            config,
            assemble.place(method, config, evaluation.device),
            source,
            evaluation.device,
            evaluation.precision,
            Bar(evaluation.show, "decoding"),
        )

    def _test(self, training: Training, run: Path) -> dict[str, Any]:
        evaluation, test, method = self.evaluation, self.evaluation.splits.test, training.method
        assert isinstance(method, LinearProbe | Finetune)
        found = assemble.features_of(
            nn.Sequential(method.encoder, method.classifier),
            test,
            training.config,
            evaluation.device,
            evaluation.precision,
        )
        right = assemble.labels_of(test, found)
        plan = training.config.train
        share = f"{self.label_fraction:.2%} of the labels, " if self.label_fraction < 1 else ""
        protocol = f"{self.kind}, {share}{plan.duration}, batch {plan.batch_size}, augmented SGD"
        hits = top_hits(found.features, right)
        measured = accuracy(hits, len(evaluation.splits.train.class_names), protocol)
        return {**measured.as_dict(), "run": str(run)}


def paper_probe(evaluation: Evaluation, stop: Stop) -> Supervised:
    """Return the preset's augmented linear probe, which replaces the one beside the checkpoint."""
    folder = str(evaluation.checkpoint.run / "linear-probe")
    return Supervised(evaluation, "linear-probe", Place(folder, overwrite=True), stop)


def supervised_config(config: Config, kind: Kind, source: Source, seed: int) -> Config:
    """Return the config of a supervised run: the checkpoint's, with its protocol's recipe.

    Raises:
        UsageError: If the preset has no recipe for this.
    """
    field = "linear" if kind == "linear-probe" else "finetune"
    protocol = getattr(config.evaluation, field)
    if protocol is None:
        hint = "use --protocol features, or train from a preset that has one"
        raise UsageError("the checkpoint's preset has no recipe", f"evaluation.{field}", hint)
    plain = config.model_dump()
    recipe = protocol.model_dump()
    plain |= {
        "preset": f"{config.preset}+{kind}",
        "seed": seed,
        "method": {"name": kind, "num_classes": len(source.class_names)},
        **{name: recipe[name] for name in ("views", "optimizer", "schedule")},
    }
    plain["train"] |= {
        "duration": recipe["duration"],
        "batch_size": min(recipe["batch_size"], len(source)),
        "accumulate": 1,
    }
    plain["evaluation"]["online_every"] = None
    return Config.model_validate(plain)


def labelled_share(source: Source, fraction: float, seed: int) -> Source:
    """Return a share of the rows of every class, at least one of each, chosen by the seed."""
    assert source.labels is not None
    generator = np.random.default_rng(seed)
    kept = []
    for label in np.unique(source.labels):
        rows = np.flatnonzero(source.labels == label)
        kept.append(generator.permutation(rows)[: max(1, round(fraction * len(rows)))])
    return Subset(source, np.sort(np.concatenate(kept)), f"{fraction:.2%} of {source.name}")
