"""Exemplar-CNN: every image, or patch of one, is a class of its own.

Dosovitskiy et al. 2014, arXiv:1406.6909. Traps: near-identical seed patches contradict each other,
so that accuracy falls beyond some 16,000 classes; the classifier grows with their number; colours
change on pixels in [0, 1]; seed patches keep a margin around them, or shifts would show borders.
"""

import math

from torch import nn
from torch.nn import functional

from sslcli.config.methods.instance import ExemplarCNNConfig
from sslcli.data.batch import Batch
from sslcli.losses.precision import at_least_float32
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.methods.classifier import train_top1


class ExemplarCNN(Method):
    """Classify a transformed image as the image that it was made from (section 2.3, eq. 1).

    Args:
        config: The number of classes, that of the training images.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    def __init__(self, config: ExemplarCNNConfig, encoder: nn.Module) -> None:
        super().__init__()
        assert config.num_instances is not None, "filled in from the data"
        self.encoder = encoder
        self.classifier = nn.Linear(feature_dim(encoder), config.num_instances)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the cross-entropy of the surrogate classes in nats; ln N is chance."""
        features = self.encoder(batch.views[0])
        logits = at_least_float32(self.classifier(features))  # [B, N]
        loss = functional.cross_entropy(logits, batch.rows)
        metrics = {"seed_top1": train_top1(logits, batch.rows)}
        chance = math.log(self.classifier.out_features)
        return Output(loss, metrics, embeddings=features.detach(), chance=chance)
