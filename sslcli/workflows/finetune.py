"""Train encoder and classifier together from a checkpoint's weights, with all or few labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sslcli import assemble
from sslcli.config.evaluation import FinetuningConfig, ProtocolConfig
from sslcli.config.families import family_of
from sslcli.config.methods.labelled import HeadLayer
from sslcli.config.schema import Config, Logger
from sslcli.data.sources.few import labelled_share, listed
from sslcli.data.sources.open import Source
from sslcli.engine.loop import Training
from sslcli.engine.stop import Stop, seconds
from sslcli.errors import UsageError
from sslcli.evaluate.metrics import Accuracy, accuracy, ranking
from sslcli.evaluate.seeds import repeat
from sslcli.listener import QUIET, Listener
from sslcli.methods.base import (
    BeginsWithHead,
    HasClassifier,
    HasProjector,
    Method,
)
from sslcli.methods.classifier import whole_classifier
from sslcli.methods.head_layers import first_layers
from sslcli.methods.registry import method_class
from sslcli.workflows.place import Place
from sslcli.workflows.recipes import (
    OF_METHOD,
    SECTIONS,
    Kind,
    extras,
    protocol_of,
    with_labels,
    with_recipe,
)
from sslcli.workflows.run import Run, load
from sslcli.workflows.training import device_of, expect_one, taking_part
from sslcli.workflows.transfer import AVERAGED, Repeated, Transfer, briefly, config_of


@dataclass(frozen=True)
class FinetuneResult(Repeated, Accuracy):
    """Accuracy of the fine-tuned classifier on the test part.

    Attributes:
        run: Folder of the training, the first seed's when there are several.
    """

    run: Path


def finetune(
    run: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    label_fraction: float | None = None,
    label_list: str | Path | None = None,
    from_head_layer: int = 0,
    recipe: str | None = None,
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
) -> FinetuneResult:
    """Train the encoder and a classifier together, from the checkpoint's weights.

    The recipe is the config's evaluation.finetune.

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `data`, `test`, `method`, `overrides`, `seed`, `device`, `precision`, `data_root`,
            `download` and `listener`.
        data: The data set, when not the checkpoint's.
        test: The data to test on.
        label_fraction: Share of each class's labels that is used, above 0 and at most 1; None for
            the recipe's.
        label_list: A file with the name of an image a line, whose labels are used instead.
        from_head_layer: Hidden layers of the projection head that are kept (SimCLR v2,
            arXiv:2006.10029, section 2).
        recipe: The preset whose evaluation.finetune is the recipe; None for the checkpoint's.
        method: The class of a checkpoint whose method is a user's own.
        overrides: Changes of the config.
        seed: Instead of the checkpoint's.
        seeds: Repeat over these seeds; accuracies are then means.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        out: Where the training goes; None for the folder "finetune" beside the checkpoint.
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
    with taking_part(device_of(run, device), listener.note) as where:
        opened = load(
            with_recipe(run, recipe, method), data=data, test=test, data_root=data_root,
            download=download, seed=seed, device=str(where),
            overrides=with_labels(overrides, label_fraction, label_list),
            precision=precision, method=method, listener=listener,
        )  # fmt: skip
        place = Place(str(out or opened.checkpoint.run / "finetune"), resume, overwrite)
        work = Finetuning(
            opened, place, stop, seeds or (), log, head_layers=from_head_layer, fit=fit
        )
        return work.result()


class Supervised(Transfer):
    """One supervised training on the data of a checkpoint; call it with a seed."""

    kind: Kind
    head_layers = 0  # of the pre-training head, kept below the classifier

    @property
    def section(self) -> str:
        """Name the section of the config that the recipe comes from."""
        return SECTIONS[self.kind]

    def recipe(self, seed: int) -> tuple[Config, Source]:
        """Return the config of a seed's run and the images that it may learn from."""
        protocol = self.protocol()
        source = self.source(protocol, seed)
        method = {"name": self.kind, "num_classes": len(source.class_names), **self.own(protocol)}
        return config_of(self.run.config, method, protocol, source, seed), source

    def protocol(self) -> ProtocolConfig:
        """Return the recipe, as the config has it."""
        return protocol_of(self.run.config, self.kind)

    def source(self, protocol: ProtocolConfig, seed: int) -> Source:
        """Return the images whose labels are learned."""
        source = self.run.splits.train
        if isinstance(protocol, FinetuningConfig) and protocol.label_list:
            return listed(source, protocol.label_list)
        if protocol.label_fraction < 1:
            source = labelled_share(source, protocol.label_fraction, seed)
        return source

    def own(self, protocol: ProtocolConfig) -> dict[str, Any]:
        """Return the fields of the method's section that the recipe or the command decides."""
        head, _ = self._head
        fields: dict[str, Any] = {"label_smoothing": protocol.label_smoothing}
        if isinstance(protocol, FinetuningConfig):
            column = family_of(self.run.config.encoder).reads
            fields |= protocol.model_dump(include=OF_METHOD) | {"column": column}
        return fields | ({"head": [layer.model_dump() for layer in head]} if head else {})

    @cached_property
    def _head(self) -> tuple[tuple[HeadLayer, ...], nn.Sequential]:
        """Return the layers of the pre-training head to keep, described and with their weights."""
        if not self.head_layers:
            return (), nn.Sequential()
        checkpoint = self.run.checkpoint
        name, method = checkpoint.config.method.name, assemble.load_method(checkpoint)
        if not isinstance(method, HasProjector):
            what = f"{name} has no projection head whose layers could be kept"
            raise UsageError(what, "from_head_layer", "leave it out")
        try:
            return first_layers(method.projector, self.head_layers)
        except ValueError as error:
            what = f"{self.head_layers} layers of {name}'s head cannot be kept: {error}"
            raise UsageError(what, "from_head_layer", "leave it out, or lower it") from error

    def method(self, config: Config) -> Method:
        """Return a fresh classifier on the checkpoint's encoder, and its head's first layers."""
        run, (_, kept) = self.run, self._head
        torch.manual_seed(config.seed)
        encoder = assemble.load_encoder(run.checkpoint, run.device)
        method = method_class(self.kind)(config.method, encoder)
        if self.head_layers:
            assert isinstance(method, BeginsWithHead)
            method.begin_with(kept)
        return method

    def test(self, training: Training) -> dict[str, Any]:
        """Return the classifier's accuracy on the test part."""
        method, config = training.method, training.config
        assert isinstance(method, HasClassifier)
        found = self.logits(whole_classifier(method), config)
        splits, logits = self.run.splits, found.features
        labels = assemble.labels_of(splits.test, found)
        measured = accuracy(ranking(logits), labels, logits.shape[1], self.told(config))
        return {**vars(measured), "classes": splits.train.class_names}

    def told(self, config: Config) -> str:
        """Say in one line how the classifier was trained."""
        protocol = protocol_of(config, self.kind)
        fraction, more = protocol.label_fraction, ""
        if isinstance(protocol, FinetuningConfig):
            more = extras(protocol)
        head = f"from head layer {self.head_layers}, " if self.head_layers else ""
        share = f"{fraction:.2%} of the labels, " if fraction < 1 else ""
        return f"{self.kind}, {head}{share}{briefly(config)}{more}"


class Finetuning(Supervised):
    """Trains the encoder too.

    Args:
        run: Checkpoint, data and encoder.
        place: Where the training goes; further seeds go beside it.
        stop: Signals and time limit.
        seeds: The seeds that follow each other.
        log: Where the rows of metrics.jsonl go, too.
        head_layers: Layers of the pre-training head that are kept below the classifier.
        fit: As for `Transfer`.
    """

    kind: Kind = "finetune"

    def __init__(
        self,
        run: Run,
        place: Place,
        stop: Stop,
        seeds: Sequence[int] = (),
        log: Logger | None = None,
        *,
        head_layers: int = 0,
        fit: bool = False,
    ) -> None:
        super().__init__(run, place, stop, seeds, log, fit=fit)
        self.head_layers = head_layers

    def result(self) -> FinetuneResult:
        """Train and measure, once or once a seed."""
        protocol = self.protocol()
        if isinstance(protocol, FinetuningConfig) and protocol.averaging:
            said = "a moving average of the weights is evaluated and kept as encoder and classifier"
            self.listener.note(f"{said}; the weights that are trained stay beside it as online")
        found, summaries = repeat(self, self.seeds, self.run.config.seed, AVERAGED)
        return FinetuneResult(**found, over_seeds=summaries)
