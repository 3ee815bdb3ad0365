"""SimSiam: Siamese networks without negatives, momentum or clustering.

Chen & He 2021, arXiv:2011.10566. Traps: the projection is detached, never the prediction; the last
BatchNorm of the projector has no scale or shift; the prediction has no BatchNorm; on CIFAR the
projector has two layers; weight decay applies to everything.
"""

from typing import Literal

from torch import Tensor, nn

from sslcli.config.methods.siamese import SimSiamConfig
from sslcli.data.batch import Batch
from sslcli.losses.regression import negative_cosine, softmax_cross_entropy
from sslcli.methods.base import Method, Output, ParamGroup, Progress, feature_dim, trainable
from sslcli.nn.heads import mlp

SIMILARITIES = {"cosine": negative_cosine, "cross-entropy": softmax_cross_entropy}


class SimSiam(Method):
    """Predict one view's projection from the other's (section 3, algorithm 1).

    With z = projector(encoder(x)) and p = predictor(z), the loss is
    D(p1, sg(z2)) / 2 + D(p2, sg(z1)) / 2, where D is the negative cosine (eq. 1 and 4) and sg stops
    the gradient. Each ablation of section 4 is a field of the config.

    Args:
        config: Heads and ablations.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    def __init__(self, config: SimSiamConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        placement = config.batch_norm
        hidden_norm = placement != "none"
        self.projector = mlp(
            [feature_dim(encoder)] + [config.dim] * config.projector_layers,
            hidden_norm=hidden_norm,
            output_norm=_output_norm(config),
        )
        self.predictor: nn.Module = nn.Identity()
        if config.predictor != "none":
            self.predictor = mlp(
                [config.dim, config.predictor_hidden, config.dim],
                hidden_norm=hidden_norm,
                output_norm="affine" if placement == "all" else "none",
            )
            self.predictor.requires_grad_(config.predictor == "trained")
        self.similarity = SIMILARITIES[config.similarity]

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the symmetrised loss of two views; D of equal vectors is -1."""
        z1, z2 = (self.projector(self.encoder(view)) for view in batch.views[:2])  # [B, D]
        loss = self._distance(z1, z2)
        if self.config.symmetric:
            loss = (loss + self._distance(z2, z1)) / 2
        return Output(loss, embeddings=z1.detach())

    def _distance(self, source: Tensor, target: Tensor) -> Tensor:
        target = target.detach() if self.config.stop_gradient else target
        return self.similarity(self.predictor(source), target)

    def param_groups(self) -> list[ParamGroup]:
        """Keep the predictor's rate constant (section 4.2: it should adapt to the latest z)."""
        predictor = list(trainable(self.predictor, "predictor"))
        kept = [pair for pair in trainable(self) if not pair[0].startswith("predictor.")]
        constant = self.config.constant_predictor_lr
        groups = [ParamGroup(kept), ParamGroup(predictor, constant_lr=constant)]
        return [group for group in groups if group.named]


def _output_norm(config: SimSiamConfig) -> Literal["none", "fixed", "affine"]:
    if config.batch_norm not in ("default", "all"):
        return "none"
    return "affine" if config.output_affine else "fixed"
