"""Supervised training on top of an encoder, in the same loop as every other method."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional

from sslcli.config.methods.labelled import (
    FinetuneConfig,
    HeadLayer,
    LinearProbeConfig,
    SupervisedConfig,
)
from sslcli.data.batch import Batch
from sslcli.losses.precision import at_least_float32
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.methods.classifier import Classifier, labels_of, noisy, train_top1


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
        return _classify(self.logits(noisy(batch.views[0], self.config.data_noise)), batch)


class LinearProbe(Method):
    """Train a linear classifier on a frozen encoder that stays in evaluation mode.

    Zhang et al. 2016 and every paper since: BatchNorm statistics are those of pre-training, and
    the classifier sees augmented views, crops and flips as a rule.

    Args:
        config: The number of classes.
        encoder: Frozen here.
    """

    def __init__(self, config: LinearProbeConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder.requires_grad_(False)
        self.classifier = nn.Linear(feature_dim(encoder), config.num_classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def train(self, mode: bool = True) -> "LinearProbe":
        """Switch the mode of the classifier only."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the cross-entropy in nats."""
        with torch.no_grad():
            features = self.encoder(batch.views[0])
        return _classify(self.classifier(features), batch, self.config.label_smoothing)


class Finetune(Method):
    """Train the encoder and a linear classifier together.

    SimCLR v2 (arXiv:2006.10029, section 2) keeps layers of the pre-training head in between, which
    helps when labels are few; the classifier is then all that follows the encoder.

    Args:
        config: The number of classes, and the layers that are kept.
        encoder: The encoder that training starts from.
    """

    def __init__(self, config: FinetuneConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        kept = list(_head_layers(feature_dim(encoder), config.head))
        width = config.head[-1].width if config.head else feature_dim(encoder)
        last = nn.Linear(width, config.num_classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.classifier = nn.Sequential(*kept, last) if kept else last

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the cross-entropy in nats."""
        logits = self.classifier(self.encoder(batch.views[0]))
        return _classify(logits, batch, self.config.label_smoothing)


def _head_layers(width: int, head: Sequence[HeadLayer]) -> Iterator[nn.Module]:
    for layer in head:
        yield nn.Linear(width, layer.width, bias=layer.bias)
        if layer.norm:
            yield nn.BatchNorm1d(layer.width, affine=layer.norm_affine)
        yield nn.ReLU(inplace=True) if layer.activation == "relu" else nn.GELU()
        width = layer.width


def first_layers(projector: nn.Module, count: int) -> tuple[tuple[HeadLayer, ...], nn.Sequential]:
    """Return the first hidden layers of a projection head, described and as modules.

    Args:
        projector: Linear layers, each but the last followed by BatchNorm or not, and an activation.
        count: Hidden layers.

    Raises:
        ValueError: If there are fewer.
    """
    layers = list(projector.children())
    ends = [index for index, layer in enumerate(layers) if isinstance(layer, nn.ReLU | nn.GELU)]
    if not 0 < count <= len(ends):
        has = f"{len(ends)} hidden layer{'s' * (len(ends) > 1)}" if ends else "no hidden layer"
        raise ValueError(f"it has {has}")
    kept, start, head = layers[: ends[count - 1] + 1], 0, []
    for end in ends[:count]:
        head.append(_described(layers[start : end + 1]))
        start = end + 1
    return tuple(head), nn.Sequential(*kept)


def _described(layers: Sequence[nn.Module]) -> HeadLayer:
    """Describe one hidden layer: Linear, BatchNorm or nothing, activation."""
    linear, *norms, activation = layers
    if not isinstance(linear, nn.Linear) or len(norms) > 1:
        raise ValueError("it has layers of another kind than Linear, BatchNorm, ReLU and GELU")
    if norms and not isinstance(norms[0], nn.BatchNorm1d):
        raise ValueError(f"it has a {type(norms[0]).__name__}, which fine-tuning does not rebuild")
    return HeadLayer(
        width=linear.out_features,
        bias=linear.bias is not None,
        norm=bool(norms),
        norm_affine=not norms or bool(norms[0].affine),
        activation="gelu" if isinstance(activation, nn.GELU) else "relu",
    )


def _classify(logits: torch.Tensor, batch: Batch, smoothing: float = 0.0) -> Output:
    """Score logits [B, C] against the batch's labels, in float32."""
    labels, logits = labels_of(batch), at_least_float32(logits)
    loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    metrics = {"train_top1": train_top1(logits, labels)}
    return Output(loss, metrics, chance=math.log(logits.shape[1]))
