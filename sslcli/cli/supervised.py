"""Training with labels on top of a checkpoint: fine-tuning and the papers' linear probe."""

from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sslcli import assemble
from sslcli.cli.checkpoint_run import CheckpointRun, briefly, config_of
from sslcli.cli.evaluation import Evaluation
from sslcli.cli.train import Place
from sslcli.config.methods.labelled import HeadLayer
from sslcli.config.schema import Config, ProtocolConfig
from sslcli.data.sources.base import need_labels
from sslcli.data.sources.open import Source
from sslcli.data.sources.splits import Subset
from sslcli.engine.loop import Training
from sslcli.engine.stop import Stop
from sslcli.errors import UsageError
from sslcli.evaluate.metrics import accuracy, top_hits
from sslcli.methods.base import HasProjector, Method
from sslcli.methods.registry import method_class
from sslcli.methods.supervised import Finetune, LinearProbe, first_layers

Kind = Literal["linear-probe", "finetune"]
SECTIONS: dict[Kind, str] = {
    "linear-probe": "evaluation.linear",
    "finetune": "evaluation.finetune",
}


class Supervised(CheckpointRun):
    """One supervised training on an evaluation's data; call it with a seed.

    Args:
        evaluation: Checkpoint, data and encoder.
        kind: "linear-probe" freezes the encoder, "finetune" trains it too.
        place: Where the run goes; further seeds go beside it.
        stop: Signals and time limit.
        series: Whether several seeds follow each other; one resumed goes on where it stopped.
        head_layers: Layers of the pre-training head that "finetune" keeps below its classifier.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        kind: Kind,
        place: Place,
        stop: Stop,
        *,
        series: bool = False,
        head_layers: int = 0,
    ) -> None:
        super().__init__(evaluation, place, stop, series=series)
        self.kind, self.head_layers = kind, head_layers

    @property
    def section(self) -> str:
        """Name the section of the config that the recipe comes from."""
        return SECTIONS[self.kind]

    def recipe(self, seed: int) -> tuple[Config, Source]:
        """Return the config of a seed's run and the images that it may learn from."""
        config, source = self.evaluation.config, self.evaluation.splits.train
        protocol, (head, _) = protocol_of(config, self.kind), self._head
        if protocol.label_fraction < 1:
            source = labelled_share(source, protocol.label_fraction, seed)
        method: dict[str, Any] = {
            "name": self.kind,
            "num_classes": len(source.class_names),
            "label_smoothing": protocol.label_smoothing,
        }
        if head:
            method["head"] = [layer.model_dump() for layer in head]
        return config_of(config, method, protocol, source, seed), source

    @cached_property
    def _head(self) -> tuple[tuple[HeadLayer, ...], nn.Sequential]:
        """Return the layers of the pre-training head to keep, described and with their weights."""
        if not self.head_layers:
            return (), nn.Sequential()
        checkpoint = self.evaluation.checkpoint
        name, method = checkpoint.config.method.name, assemble.load_method(checkpoint)
        if not isinstance(method, HasProjector):
            what = f"{name} has no projection head whose layers could be kept"
            raise UsageError(what, "--from-head-layer", "leave it out")
        try:
            return first_layers(method.projector, self.head_layers)
        except ValueError as error:
            what = f"{self.head_layers} layers of {name}'s head cannot be kept: {error}"
            raise UsageError(what, "--from-head-layer", "leave it out, or lower it") from error

    def method(self, config: Config) -> Method:
        """Return a fresh classifier on the checkpoint's encoder, and its head's first layers."""
        evaluation, (_, kept) = self.evaluation, self._head
        torch.manual_seed(config.seed)
        encoder = assemble.load_encoder(evaluation.checkpoint, evaluation.device)
        method = method_class(self.kind)(config.method, encoder)
        for own, layer in zip(method.get_submodule("classifier").children(), kept, strict=False):
            own.load_state_dict(layer.state_dict())
        return method

    def test(self, training: Training) -> dict[str, Any]:
        """Return the classifier's accuracy on the test part."""
        method, config = training.method, training.config
        assert isinstance(method, LinearProbe | Finetune)
        found = self.logits(nn.Sequential(method.encoder, method.classifier), config)
        hits = top_hits(found.features, assemble.labels_of(self.evaluation.splits.test, found))
        return accuracy(hits, found.features.shape[1], self._protocol(config)).as_dict()

    def _protocol(self, config: Config) -> str:
        fraction = protocol_of(config, self.kind).label_fraction
        head = f"from head layer {self.head_layers}, " if self.head_layers else ""
        share = f"{fraction:.2%} of the labels, " if fraction < 1 else ""
        return f"{self.kind}, {head}{share}{briefly(config)}"


def protocol_of(config: Config, kind: Kind) -> ProtocolConfig:
    """Return a preset's recipe for training with labels.

    Raises:
        UsageError: If the preset has none.
    """
    section = SECTIONS[kind]
    protocol: ProtocolConfig | None = getattr(config.evaluation, section.rpartition(".")[2])
    if protocol is None:
        hint = "use --protocol features, or train from a preset that has one"
        raise UsageError("the checkpoint's preset has no recipe", section, hint)
    return protocol


def labelled_share(source: Source, fraction: float, seed: int) -> Source:
    """Return a share of the rows of every class, at least one of each, chosen by the seed."""
    labels, generator = need_labels(source), np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept.append(generator.permutation(rows)[: max(1, round(fraction * len(rows)))])
    return Subset(source, np.sort(np.concatenate(kept)), f"{fraction:.2%} of {source.name}")
