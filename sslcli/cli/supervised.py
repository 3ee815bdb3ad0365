"""Training with labels on top of a checkpoint: fine-tuning and the papers' linear probe."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from sslcli import assemble
from sslcli.cli.evaluation import Evaluation
from sslcli.cli.train import Order, prepare_run, train_run
from sslcli.cli.watch import Bar
from sslcli.config.schema import Config
from sslcli.data.sources import Source
from sslcli.data.splits import Subset
from sslcli.engine.loop import Training
from sslcli.engine.run import CONFIG
from sslcli.errors import UsageError
from sslcli.evaluate.metrics import accuracy, top_hits
from sslcli.methods.registry import method_class

Kind = Literal["linear-probe", "finetune"]


class Supervised:
    """One supervised training on an evaluation's data; call it with a seed.

    Args:
        evaluation: Checkpoint, data and encoder.
        kind: "linear-probe" freezes the encoder, "finetune" trains it too.
        order: Where the run goes; a probe's run lies in the checkpoint's folder.
        label_fraction: Share of the training labels used, the same share of every class.
        seconds: Time limit.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        kind: Kind,
        order: Order,
        *,
        label_fraction: float = 1.0,
        seconds: float | None = None,
    ) -> None:
        self.evaluation, self.kind, self.order = evaluation, kind, order
        self.label_fraction, self.seconds = label_fraction, seconds

    def __call__(self, seed: int) -> dict[str, Any]:
        """Train, then return the accuracy on the test part."""
        training = self.training(seed)
        order = replace(self.order, out=self.order.out and f"{self.order.out}{self._suffix(seed)}")
        run = prepare_run(order, training.config)
        show, splits = self.evaluation.show, self.evaluation.splits
        train_run(training, splits, run, order.resume, self.seconds, show)
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
        assemble.seed_everything(seed)
        encoder = assemble.load_encoder(evaluation.checkpoint, evaluation.device)
        method = method_class(self.kind)(config.method, encoder.train())
        return assemble.build_training(
            config,
            assemble.place(method, config, evaluation.device),
            source,
            evaluation.device,
            evaluation.precision,
            Bar(evaluation.show, "decoding"),
        )

    def _test(self, training: Training, run: Path) -> dict[str, Any]:
        evaluation, test = self.evaluation, self.evaluation.splits.test
        classifier = nn.Sequential(training.method.encoder, training.method.classifier)
        found = assemble.features_of(
            classifier, test, training.config, evaluation.device, evaluation.precision
        )
        right = assemble.labels_of(test, found)
        plan = training.config.train
        share = f"{self.label_fraction:.2%} of the labels, " if self.label_fraction < 1 else ""
        protocol = f"{self.kind}, {share}{plan.duration}, batch {plan.batch_size}, augmented SGD"
        hits = top_hits(found.features, right)
        measured = accuracy(hits, len(evaluation.splits.train.class_names), protocol)
        return {**measured.as_dict(), "run": str(run)}

    def _suffix(self, seed: int) -> str:
        return "" if seed == self.evaluation.config.seed else f"-seed{seed}"


def supervised_config(config: Config, kind: Kind, source: Source, seed: int) -> Config:
    """Return the config of a supervised run: the checkpoint's, with its protocol's recipe.

    Raises:
        UsageError: If the preset has no recipe for this.
    """
    field = "linear" if kind == "linear-probe" else "finetune"
    protocol = getattr(config.evaluation, field)
    if protocol is None:
        hint = f"give one in [evaluation.{field}] with --set, or use --protocol features"
        raise UsageError("the checkpoint's preset has no recipe", f"evaluation.{field}", hint)
    batch = min(protocol.batch_size, len(source))
    changed: dict[str, Any] = {
        "preset": f"{config.preset}+{kind}",
        "seed": seed,
        "method": {"name": kind, "num_classes": len(source.class_names)},
        "views": protocol.views,
        "optimizer": protocol.optimizer,
        "schedule": protocol.schedule,
    }
    train = {"duration": protocol.duration, "batch_size": batch, "accumulate": 1}
    plain = Config.model_construct(**{**dict(config), **changed}).model_dump(warnings=False)
    plain["train"] |= train
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
    return Subset(source, np.sort(np.concatenate(kept)))


def probe_order(evaluation: Evaluation) -> Order:
    """Return the order of a linear probe, whose run lies beside the checkpoint.

    A probe that was stopped goes on; one that ended is made again.
    """
    folder = evaluation.checkpoint.run / "linear-probe"
    return Order(str(folder), False, (folder / CONFIG).is_file(), False, "auto", None)
