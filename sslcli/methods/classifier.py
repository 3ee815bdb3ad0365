"""Parts shared by classifiers that are read as densities: noise, labels, logits."""

import torch
from torch import Tensor, nn

from sslcli.config.methods.energy import SamplerConfig
from sslcli.data.batch import Batch
from sslcli.losses.energy import joint_log_density, log_density
from sslcli.losses.precision import at_least_float32
from sslcli.methods.base import HasClassifier, Method, feature_dim, reads
from sslcli.perturb.sgld import Langevin


class Classifier(Method):
    """An encoder with a linear classifier, whose logits are also log-densities (JEM, section 4).

    Args:
        encoder: Maps images to [B, encoder.feature_dim].
        num_classes: Number of logits.
    """

    def __init__(self, encoder: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(feature_dim(encoder), num_classes)

    def logits(self, images: Tensor) -> Tensor:
        """Map normalised images [B, 3, H, W] to logits [B, C], float32 at least."""
        return at_least_float32(self.classifier(self.encoder(images)))

    def log_density(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return log p(x), or log p(x, y), up to a constant, [B]."""
        logits = self.logits(images)
        return log_density(logits) if labels is None else joint_log_density(logits, labels)


class WholeClassifier(nn.Sequential):
    """A network with a classifier behind it."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map images, or the ids and the mask of texts, to logits [B, C]."""
        network, classifier = self
        logits: Tensor = classifier(network(*inputs))
        return logits


def whole_classifier(method: HasClassifier) -> WholeClassifier:
    """Return a method's classifier behind the network that it stands on."""
    assert isinstance(method, Method)
    return WholeClassifier(method.towers()[reads(method.encoder)], method.classifier)


def labels_of(batch: Batch) -> Tensor:
    """Return the batch's labels, [B] int64.

    Raises:
        ValueError: If it has none, for its method's section does not say that it learns labels.
    """
    if batch.labels is None:
        raise ValueError("the batch has no labels: a section asks for them by learns_labels")
    return batch.labels


def noisy(images: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise to normalised images (JEM, appendix A)."""
    return images + deviation * torch.randn_like(images) if deviation else images


def train_top1(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of a batch that is classified correctly, a scalar without gradient."""
    return (logits.detach().argmax(dim=1) == labels).float().mean()


def langevin(config: SamplerConfig) -> Langevin:
    """Return the sampler that a config describes."""
    return Langevin(**config.model_dump())
