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
from sslcli.config.schema import Config, ProtocolConfig
from sslcli.data.sources import Source
from sslcli.data.splits import Subset
from sslcli.engine.collective import from_main, is_main, world_size
from sslcli.engine.loop import Training
from sslcli.engine.state import has_state
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
        series: Whether several seeds follow each other; one resumed goes on where it stopped.
    """

    def __init__(
        self, evaluation: Evaluation, kind: Kind, place: Place, stop: Stop, *, series: bool = False
    ) -> None:
        self.evaluation, self.kind, self.place, self.stop = evaluation, kind, place, stop
        self.series = series

    def __call__(self, seed: int) -> dict[str, Any]:
        """Train, then return the accuracy on the test part."""
        place, checkpoint = self._place(seed), self.evaluation.checkpoint.path.resolve()
        config, source = self.recipe(seed)
        if is_main() and place.check(config).resolve() in checkpoint.parents:
            hint = "choose another --out"
            raise UsageError("this folder holds the checkpoint itself", str(place.out), hint)
        training = self.training(config, source)
        show, splits = self.evaluation.show, self.evaluation.splits
        run = Path(from_main(str(place.make(config)) if is_main() else ""))
        train_run(training, splits, run, place, self.stop, show)
        return self._test(training, run)

    def _place(self, seed: int) -> Place:
        """Return where a seed's run goes, and whether it goes on or starts."""
        place = self.place
        if seed != self.evaluation.config.seed:
            place = replace(place, out=f"{place.out}-seed{seed}")
        has_begun = from_main(has_state(Path(str(place.out))))
        if place.resume and self.series and not has_begun:
            return replace(place, resume=False, overwrite=True)
        return place

    def recipe(self, seed: int) -> tuple[Config, Source]:
        """Return the config of a seed's run and the images that it may learn from."""
        config, source = self.evaluation.config, self.evaluation.splits.train
        fraction = protocol_of(config, self.kind).label_fraction
        if fraction < 1:
            source = labelled_share(source, fraction, seed)
        return supervised_config(config, self.kind, source, seed), source

    def training(self, config: Config, source: Source) -> Training:
        """Return a training at step 0."""
        evaluation = self.evaluation
        torch.manual_seed(config.seed)
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
        fraction = protocol_of(training.config, self.kind).label_fraction
        share = f"{fraction:.2%} of the labels, " if fraction < 1 else ""
        protocol = f"{self.kind}, {share}{plan.duration}, batch {plan.batch_size}, augmented SGD"
        hits = top_hits(found.features, right)
        measured = accuracy(hits, len(evaluation.splits.train.class_names), protocol)
        return {**measured.as_dict(), "run": str(run)}


def protocol_of(config: Config, kind: Kind) -> ProtocolConfig:
    """Return a preset's recipe for training with labels.

    Raises:
        UsageError: If the preset has none.
    """
    field = "linear" if kind == "linear-probe" else "finetune"
    protocol: ProtocolConfig | None = getattr(config.evaluation, field)
    if protocol is None:
        hint = "use --protocol features, or train from a preset that has one"
        raise UsageError("the checkpoint's preset has no recipe", f"evaluation.{field}", hint)
    return protocol


def supervised_config(config: Config, kind: Kind, source: Source, seed: int) -> Config:
    """Return the config of a supervised run: the checkpoint's, with its protocol's recipe."""
    plain = config.model_dump()
    recipe = protocol_of(config, kind).model_dump()
    plain |= {
        "preset": f"{config.preset}+{kind}",
        "seed": seed,
        "method": {"name": kind, "num_classes": len(source.class_names)},
        **{name: recipe[name] for name in ("views", "optimizer", "schedule")},
    }
    plain["train"] |= {
        "duration": recipe["duration"],
        "batch_size": min(recipe["batch_size"], len(source) // world_size() * world_size()),
        "accumulate": 1,
    }
    plain["evaluation"]["online_every"] = None
    return Config.model_validate(plain)


def labelled_share(source: Source, fraction: float, seed: int) -> Source:
    """Return a share of the rows of every class, at least one of each, chosen by the seed."""
    labels, generator = assemble.need_labels(source), np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept.append(generator.permutation(rows)[: max(1, round(fraction * len(rows)))])
    return Subset(source, np.sort(np.concatenate(kept)), f"{fraction:.2%} of {source.name}")
