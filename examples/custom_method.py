"""A method of one's own: VICReg, outside the package.

    ssl pretrain --method examples/custom_method.py:VICReg --set method.covariance=0.04

Everything but the method is taken from the SimSiam preset for the data: encoder, views, optimiser.
Name another with --preset or --config. Evaluation, resuming and export need nothing more.

Bardes et al. 2022, arXiv:2105.04906.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.section import MethodSection
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather_with_gradient
from sslcli.losses.precision import at_least_float32, inner_products
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.nn.heads import mlp


class VICRegSection(MethodSection):
    """The fields of `method`, which `--set method.NAME=VALUE` changes."""

    min_views: ClassVar[int] = 2

    dim: int = 512
    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    expander_layers: Literal[2, 3] = 3


class VICReg(Method):
    """Keep two views alike, each channel's deviation above 1, and channels uncorrelated (eq. 6)."""

    Section = VICRegSection
    gathers = True

    def __init__(self, config: VICRegSection, encoder: nn.Module) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        sizes = [feature_dim(encoder)] + [config.dim] * config.expander_layers
        self.expander = mlp(sizes, hidden_norm=True)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the weighted sum of the three terms of two views."""
        a, b = (
            gather_with_gradient(at_least_float32(self.expander(self.encoder(view))))
            for view in batch.views[:2]
        )
        config = self.config
        loss = config.invariance * functional.mse_loss(a, b)
        for embeddings in (a, b):
            centred = embeddings - embeddings.mean(dim=0)
            loss = loss + config.variance * low_variance(centred) / 2
            loss = loss + config.covariance * correlation(centred)
        return Output(loss, embeddings=a.detach())


def low_variance(centred: Tensor) -> Tensor:
    """Return how far deviations fall short of 1, the mean over channels of [N, D] (eq. 1)."""
    deviation = (centred.var(dim=0) + 1e-4).sqrt()
    return functional.relu(1 - deviation).mean()


def correlation(centred: Tensor) -> Tensor:
    """Return the squared covariances of different channels of [N, D], over D (eq. 3 and 4)."""
    covariance = inner_products(centred.T, centred.T) / (len(centred) - 1)
    off_diagonal = covariance - torch.diag(covariance.diagonal())
    return off_diagonal.square().sum() / centred.shape[1]
