"""Supervised training on top of an encoder, in the same loop as every other method."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from sslcli.config.methods.labelled import FinetuneConfig, LinearProbeConfig, SupervisedConfig
from sslcli.data.batch import Batch
from sslcli.errors import ConfigError
from sslcli.losses.amdim import clipped
from sslcli.losses.precision import at_least_float32
from sslcli.methods.base import (
    Method,
    Output,
    ParamGroup,
    Progress,
    feature_dim,
    reads,
    trainable,
)
from sslcli.methods.classifier import Classifier, labels_of, noisy, train_top1
from sslcli.methods.head_layers import head_layers
from sslcli.methods.mixing import mix
from sslcli.nn.cell_classifier import CellClassifier
from sslcli.nn.depth import depths
from sslcli.nn.patch_encoder import PatchEncoder
from sslcli.nn.read_out import read_out
from sslcli.nn.target import average, target_of


class Supervised(Classifier):
    """Train the encoder and a linear classifier from scratch by cross-entropy.

    The baseline of the energy-based methods: the same views and network, no density.

    Args:
        config: The number of classes, and noise on the images.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    def __init__(self, config: SupervisedConfig, encoder: nn.Module) -> None:
        super().__init__(encoder, config.num_classes)
        self.config = config

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the cross-entropy in nats."""
        images = noisy(batch.views[0], self.config.data_noise)
        return _learn(self.logits, images, batch, self.config)


class LinearProbe(Method):
    """Train a linear classifier on a frozen encoder that stays in evaluation mode.

    Zhang et al. 2016 and every paper since: BatchNorm statistics are those of pre-training, and
    the classifier sees augmented views, crops and flips as a rule. With several rates, as many
    classifiers start alike and learn from the same features; none changes what another learns. Per
    cell, `cells` learns, and `classifier` is what it makes of the mean of the cells.

    Args:
        config: The number of classes, what is read out of the encoder, and the rates.
        encoder: Frozen here.

    Raises:
        ConfigError: If the encoder has nothing of that name to read out, or no cells.
    """

    def __init__(self, config: LinearProbeConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder.requires_grad_(False)
        self.classifier = nn.Linear(feature_dim(self._features), config.num_classes)
        if config.init == "normal":
            nn.init.normal_(self.classifier.weight, std=0.01)
            nn.init.zeros_(self.classifier.bias)
        self.others = nn.ModuleList(copy.deepcopy(self.classifier) for _ in config.rates[1:])
        if config.per_cell:
            width = _cell_width(encoder, config.features)
            self.cells = CellClassifier(width, config.num_classes)
            self.classifier.requires_grad_(False)

    @property
    def classifiers(self) -> dict[str, nn.Module]:
        """The classifier of each rate by its name here, in their order."""
        others = {f"others.{number}": each for number, each in enumerate(self.others)}
        return {"classifier": self.classifier, **others}

    @property
    def _features(self) -> nn.Module:
        features: nn.Module = read_out(self.encoder, self.config.features)
        return features

    def towers(self) -> Mapping[str, nn.Module]:
        """Return the network that the classifier stands on, with what it reads out."""
        return {reads(self.encoder): self._features}

    def param_groups(self) -> list[ParamGroup]:
        """Return the classifiers, each with its rate."""
        if self.config.per_cell:
            return super().param_groups()
        rates = self.config.rates or (1.0,)
        return [
            ParamGroup(list(trainable(each, name)), lr_scale=rate / rates[0])
            for (name, each), rate in zip(self.classifiers.items(), rates, strict=True)
        ]

    def train(self, mode: bool = True) -> "LinearProbe":
        """Switch the mode of the classifier only."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the cross-entropy in nats, summed over the rates; the best train_top1 of them."""
        if self.config.per_cell:
            assert isinstance(self.encoder, PatchEncoder)
            with torch.no_grad():
                grid = self.encoder.grid(batch.views[0])
            return self._judged(self.cells(grid), batch)
        with torch.no_grad():
            features = self._features(batch.views[0])
        outputs = [self._judged(each(features), batch) for each in self.classifiers.values()]
        if len(outputs) == 1:
            return outputs[0]
        found = torch.stack([output.metrics["train_top1"] for output in outputs])
        loss = torch.stack([output.loss for output in outputs]).sum()
        chance = sum(output.chance or 0.0 for output in outputs)
        return Output(loss, {"train_top1": found.max()}, chance=chance)

    def _judged(self, logits: torch.Tensor, batch: Batch) -> Output:
        """Score logits, clipped and penalised where the config says so."""
        config, logits = self.config, at_least_float32(logits)
        output = _classify(clipped(logits, config.logit_clip), batch, config.label_smoothing)
        if not config.logit_penalty:
            return output
        return replace(output, loss=output.loss + config.logit_penalty * logits.square().mean())

    def after_step(self, progress: Progress, carry: Mapping[str, torch.Tensor]) -> None:
        """Let the classifier follow that of the cells, where there is one."""
        if self.config.per_cell:
            self.cells.write_to(self.classifier)


def _cell_width(encoder: nn.Module, features: str) -> int:
    """Return the channels of the maps whose mean an encoder gives.

    Raises:
        ConfigError: If it gives something else.
    """
    if isinstance(encoder, PatchEncoder) and features == "encoder":
        return encoder.feature_dim
    hint = "leave it out, or evaluate CPC with linear_features = encoder"
    raise ConfigError("there are no cells to classify", "evaluation.linear.per_cell", hint)


class Finetune(Method):
    """Train the encoder and a linear classifier together.

    SimCLR v2 (arXiv:2006.10029, section 2) keeps layers of the pre-training head in between, which
    helps when labels are few; the classifier is then all that follows the encoder. With averaging,
    `encoder` and `classifier` are the moving average of `online`, which is trained: the average is
    what is evaluated, kept and exported.

    Args:
        config: The number of classes, the layers that are kept, and how encoder and labels learn.
        encoder: The encoder of images or texts that training starts from.

    Raises:
        ConfigError: If rates are to decay over blocks or stages that the encoder has not.
    """

    def __init__(self, config: FinetuneConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        kept = list(head_layers(feature_dim(encoder), config.head))
        width = config.head[-1].width if config.head else feature_dim(encoder)
        last = nn.Linear(width, config.num_classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.encoder, self.classifier = encoder, nn.Sequential(*kept, last) if kept else last
        if config.averaging:
            self.online = nn.Sequential(self.encoder, self.classifier)
            self.encoder, self.classifier = target_of(self.encoder), target_of(self.classifier)

    def begin_with(self, kept: nn.Sequential) -> None:
        """Start from the first layers of a pre-training head, as `first_layers` returns them."""
        heads = [self.classifier, *([self.online[1]] if self.config.averaging else [])]
        for head in heads:
            for own, layer in zip(head.children(), kept, strict=False):
                own.load_state_dict(layer.state_dict())

    @property
    def _trained(self) -> tuple[nn.Module, nn.Module]:
        if self.config.averaging:
            return self.online[0], self.online[1]
        return self.encoder, self.classifier

    def param_groups(self) -> list[ParamGroup]:
        """Return the parameters by their depth, where rates decay with it (Clark et al. 2020).

        arXiv:2003.10555, section 3.1. The classifier has the run's rate times `classifier_rate`.
        What follows the last layer of the encoder would have the run's own; each layer has
        `layer_decay` times that of the one above it.
        """
        if self.config.layer_decay == self.config.classifier_rate == 1:
            return super().param_groups()
        encoder, classifier = self._trained
        prefixes = ("online.0", "online.1") if self.config.averaging else ("encoder", "classifier")
        named = list(trainable(encoder))
        top = ParamGroup(
            list(trainable(classifier, prefixes[1])), lr_scale=self.config.classifier_rate
        )
        if self.config.layer_decay == 1:
            return [ParamGroup(list(trainable(encoder, prefixes[0]))), top]
        try:
            depth_of = depths(name for name, _ in named)
        except ValueError as error:
            what = f"rates cannot decay over this encoder's depth: {error}"
            hint = "set it to 1, or use a vision transformer or a ResNet"
            raise ConfigError(what, "evaluation.finetune.layer_decay", hint) from error
        groups = {depth: list[tuple[str, nn.Parameter]]() for depth in depth_of.values()}
        for name, parameter in named:
            groups[depth_of[name]].append((f"{prefixes[0]}.{name}", parameter))
        above = max(groups) + 1
        decayed = [
            ParamGroup(members, lr_scale=self.config.layer_decay ** (above - depth))
            for depth, members in sorted(groups.items())
        ]
        return [*decayed, top]

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the cross-entropy in nats."""
        encoder, classifier = self._trained
        if batch.texts:
            logits = classifier(encoder(batch.texts[0].ids, batch.texts[0].mask))
            return _classify(logits, batch, self.config.label_smoothing)
        return _learn(lambda x: classifier(encoder(x)), batch.views[0], batch, self.config)

    def after_step(self, progress: Progress, carry: Mapping[str, torch.Tensor]) -> None:
        """Move the averages, where there are any."""
        if self.config.averaging:
            for mean, online in zip((self.encoder, self.classifier), self.online, strict=True):
                average(mean, online, self.config.averaging)


def _learn(
    network: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    batch: Batch,
    config: FinetuneConfig | SupervisedConfig,
) -> Output:
    """Score a network on the images, which are mixed with each other if the config says so.

    The accuracy of mixed images is that of guessing the class of their own image.
    """
    if not config.mixes:
        return _classify(network(images), batch, config.label_smoothing)
    labels = labels_of(batch)
    images, shares = mix(images, labels, config, config.num_classes)
    logits = at_least_float32(network(images))
    shares = shares.to(logits.dtype)
    loss = functional.cross_entropy(logits, shares, label_smoothing=config.label_smoothing)
    metrics = {"train_top1": train_top1(logits, labels)}
    return Output(loss, metrics, chance=math.log(logits.shape[1]))


def _classify(logits: torch.Tensor, batch: Batch, smoothing: float = 0.0) -> Output:
    """Score logits [B, C] against the batch's labels, in float32."""
    labels, logits = labels_of(batch), at_least_float32(logits)
    loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    metrics = {"train_top1": train_top1(logits, labels)}
    return Output(loss, metrics, chance=math.log(logits.shape[1]))
