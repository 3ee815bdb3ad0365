"""The linear predictor of DirectPred and DirectCopy, set from its inputs' correlation.

Traps: the correlation is of the raw projections, neither centred nor normalised, and over the
batches of all processes; its average begins at the first batch, not at zero; the predictor is set
after the optimiser's step and before the target moves; it is in no optimiser, unless it follows the
gradient in between; correlation and predictor stay in float32 whatever autocast says.
"""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sslcli.config.methods.siamese import LinearPredictorConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import total
from sslcli.losses.precision import at_least_float32
from sslcli.losses.regression import byol
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.nn.redraw import redrawn
from sslcli.nn.target import follow, target_of


class LinearPredictor(Method):
    """BYOL with a linear predictor W that a subclass computes from F = E[f f^T] (Tian et al. 2021).

    f = projector(encoder(x)) and f' is the target's. The loss is that of BYOL, which is the
    official code's -2 [cos(W f1, f2') + cos(W f2, f1')] plus 4, averaged over the batch.

    There may be K predictors. Each one has the correlation of its own share of the samples; the
    prediction of a sample is the mean over its predictors.

    Args:
        config: Heads, correlation and target.
        encoder: Maps images to [B, encoder.feature_dim].
        count: K.
    """

    correlation: Tensor

    def __init__(self, config: LinearPredictorConfig, encoder: nn.Module, count: int = 1) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.projector = _projector(feature_dim(encoder), config.projector_hidden, config.dim)
        drawn = nn.Linear(config.dim, config.dim, bias=False).weight.detach()
        is_trained = config.freq != 1
        self.predictors = nn.Parameter(drawn.repeat(count, 1, 1), is_trained)  # [K, D, D]
        self.register_buffer("correlation", torch.zeros_like(self.predictors))  # [K, D, D]
        self.target: nn.Module | None = None
        if config.target == "ema":
            online = self._online()
            independent = config.target_init == "independent"
            self.target = target_of(redrawn(online) if independent else online)

    @abstractmethod
    def solve(self, correlation: Tensor) -> Tensor:
        """Return the predictors for correlations, both [K, D, D]."""

    def shares(self, features: Tensor) -> Tensor:
        """Return the predictors that each sample of a view belongs to, [B, K] of 0 and 1."""
        return features.new_ones(len(features), 1)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss of both directions, from 0 to 8."""
        views = batch.views[:2]
        f1, f2 = (at_least_float32(self.projector(self.encoder(view))) for view in views)  # [B, D]
        target1, target2 = f1.detach(), f2.detach()
        if self.target is not None:
            with torch.no_grad():
                target1, target2 = (self.target(view) for view in views)
        with torch.autocast(f1.device.type, enabled=False):
            share1, share2 = self.shares(f1.detach()), self.shares(f2.detach())  # [B, K]
            loss = byol(self.predict(f1, share1), target2) + byol(self.predict(f2, share2), target1)
        carry = {
            "features": torch.cat([f1, f2]).detach(),  # [2B, D]
            "shares": torch.cat([share1, share2]),  # [2B, K]
        }
        return Output(loss, carry=carry, embeddings=f1.detach())

    def predict(self, features: Tensor, shares: Tensor) -> Tensor:
        """Return the mean prediction of each sample's predictors, [B, D]."""
        each = torch.einsum("kde,be->bkd", self.predictors, features)
        return (shares.unsqueeze(2) * each).sum(dim=1) / shares.sum(dim=1, keepdim=True)

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Average the correlation, set the predictors every `freq` steps, move the target."""
        config, done = self.config, progress.step
        if config.freq:
            found = correlations(carry["features"], carry["shares"])
            self.correlation.lerp_(found, 1 - config.correlation_momentum if done > 1 else 1.0)
            if (done - 1) % config.freq == 0:
                self.predictors.copy_(self.solve(self.correlation))
        if self.target is not None:
            follow(self.target, self._online(), config.momentum)

    def _online(self) -> nn.Sequential:
        """Return the modules that the target follows; as a sub-module they would be saved twice."""
        return nn.Sequential(self.encoder, self.projector)


def correlations(features: Tensor, shares: Tensor) -> Tensor:
    """Return the mean of f f^T over the samples of all processes, for each predictor.

    Args:
        features: Projections f, [N, D], of this process.
        shares: Samples that count for each predictor, [N, K] of 0 and 1.

    Returns:
        [K, D, D]; zero where no sample counts.
    """
    sums = torch.einsum("nk,nd,ne->kde", shares, features, features)
    counts = total(shares.sum(dim=0)).clamp(min=1)  # [K]
    return total(sums) / counts[:, None, None]


def _projector(width: int, hidden: int, dim: int) -> nn.Sequential:
    """Return the projector of the official code: its BatchNorm has no scale and no shift."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.BatchNorm1d(hidden, affine=False),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, dim),
    )
