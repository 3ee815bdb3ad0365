"""MoCo v3: momentum contrast without a queue, for ResNets and vision transformers.

Chen et al. 2021, arXiv:2104.02057. Traps: keys come from the target without the predictor and carry
no gradient; each process's queries have their keys at its own rank's place among all keys; the loss
is 2 T times the cross-entropy; BatchNorm must be synchronised; the target moves after each step,
which equals the official order, before the keys' pass; its momentum ends at 1.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sslcli.config.methods.transformers import MoCoV3Config
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather, rank
from sslcli.errors import ConfigError
from sslcli.losses.contrastive import batch_info_nce, own_key_top1
from sslcli.methods.base import BatchContrast, Output, Progress, feature_dim
from sslcli.nn.heads import mlp
from sslcli.nn.target import follow, target_of


class MoCoV3(BatchContrast):
    """Find a view's key among those of the whole batch, both ways (section 3, algorithm 1).

    With q = predictor(projector(encoder(x))) and k the target's projection, the loss is
    ctr(q1, k2) + ctr(q2, k1).

    Args:
        config: Heads, temperature, momentum and ablations.
        encoder: Maps images to [B, encoder.feature_dim].

    Raises:
        ConfigError: If patches are to be frozen and the encoder has none.
    """

    def __init__(self, config: MoCoV3Config, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        if config.freeze_patches:
            _patch_embedding(encoder).requires_grad_(False)
        sizes = [feature_dim(encoder), *[config.hidden] * (config.projector_layers - 1), config.dim]
        self.projector = mlp(sizes, output_norm="fixed")
        self.predictor: nn.Module = nn.Identity()
        if config.predictor != "none":
            self.predictor = mlp(
                [config.dim, config.hidden, config.dim],
                output_norm="fixed" if config.predictor_output_norm else "none",
                output_bias=False,
            )
        self.target = target_of(self._online)

    @property
    def _online(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the queries and then the keys of the first two views, each [B, D]."""
        views = batch.views[:2]
        queries = [self.predictor(self._online(view)) for view in views]
        with torch.no_grad():
            keys = [self.target(view) for view in views]
        return *queries, *keys

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss, 4 T ln N at a guess among N images."""
        q1, q2, *own = embeddings
        k1, k2 = (gather(keys) for keys in own)  # [W * B, D]
        first, temperature = rank() * len(batch), self.config.temperature
        loss = batch_info_nce(q1, k2, temperature, first)
        loss = loss + batch_info_nce(q2, k1, temperature, first)
        metrics = {"contrast_top1": own_key_top1(q1, k2, first)}
        return Output(2 * temperature * loss, metrics, embeddings=q1.detach())

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Move the target towards the encoder and projector."""
        momentum = progress.cosine(self.config.momentum, self.config.momentum_end)
        follow(self.target, self._online, momentum)


def _patch_embedding(encoder: nn.Module) -> nn.Module:
    """Return the layer that turns patches into tokens, in our transformers and timm's."""
    for name, module in encoder.named_modules():
        if name == "patch_embed":
            return module
    hint = "leave it out, or use an encoder such as vit-small"
    raise ConfigError("this encoder has no patches to freeze", "method.freeze_patches", hint)
