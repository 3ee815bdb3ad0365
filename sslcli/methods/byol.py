"""BYOL: predict the projection that a slow copy of the network makes of the other view.

Grill et al. 2020, arXiv:2006.07733. Traps: the target has no predictor and runs in training mode,
on the statistics of its own batch; its momentum follows the steps, not the epochs, and is applied
after the optimiser's step; BatchNorm's buffers are not averaged; biases and BatchNorm take neither
decay nor trust (the optimiser's fields); the encoder that is kept is the online one.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sslcli.config.methods.siamese import BYOLConfig
from sslcli.data.batch import Batch
from sslcli.losses.regression import byol
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.nn.heads import mlp
from sslcli.nn.redraw import redrawn
from sslcli.nn.target import follow, target_of


class BYOL(Method):
    """Regress the target's projection z' of one view from the other (section 3.1, eq. 2).

    With z = projector(encoder(x)), q = predictor(z) and z' of the target network, the loss is |q1 /
    |q1| - z2' / |z2'||^2 + |q2 / |q2| - z1' / |z1'||^2, averaged over the batch: 0 for equal
    vectors (also of collapsed networks), 4 for orthogonal and 8 for opposite ones. The target's
    weights are an average of the online ones. Without `stop_gradient` there is one network and both
    branches learn.

    Args:
        config: Heads, momentum and ablations.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    def __init__(self, config: BYOLConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.projector = _head(feature_dim(encoder), config.projector_hidden, config.dim)
        self.predictor: nn.Module = nn.Identity()
        if config.predictor == "mlp":
            self.predictor = _head(config.dim, config.predictor_hidden, config.dim)
        elif config.predictor == "linear":
            self.predictor = nn.Linear(config.dim, config.dim, bias=False)
        self.target: nn.Module | None = None
        if config.stop_gradient:
            online = self._online()
            self.target = target_of(
                redrawn(online) if config.target_init == "independent" else online
            )

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss of both directions, from 0 to 8."""
        views = batch.views[:2]
        z1, z2 = (self.projector(self.encoder(view)) for view in views)  # [B, D]
        target1, target2 = z1, z2
        if self.target is not None:
            with torch.no_grad():
                target1, target2 = (self.target(view) for view in views)
        loss = byol(self.predictor(z1), target2) + byol(self.predictor(z2), target1)
        return Output(loss, embeddings=z1.detach())

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Move the target: its momentum rises on a cosine over the run (section 3.3)."""
        if self.target is not None:
            momentum = progress.cosine(self.config.momentum, self.config.momentum_end)
            follow(self.target, self._online(), momentum)

    def _online(self) -> nn.Sequential:
        """Return the modules that the target follows; as a sub-module they would be saved twice."""
        return nn.Sequential(self.encoder, self.projector)


def _head(width: int, hidden: int, dim: int) -> nn.Sequential:
    """Return an MLP with a bias before its BatchNorm and none at its output (official code)."""
    return mlp([width, hidden, dim], hidden_bias=True, output_bias=False)
