"""SimCLR: each view finds its partner among all other views of a large batch.

Chen et al. 2020, arXiv:2002.05709. Traps: the negatives are those of all processes, and gradients
flow back to every one; BatchNorm is global, or its statistics give partners away; the mean is
over 2N views; the head is thrown away, and probing its output instead costs 10 points.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sslcli.config.methods.contrastive import SimCLRConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather_with_gradient
from sslcli.losses.contrastive import nearest_top1, nt_xent
from sslcli.methods.base import BatchContrast, Output, Progress, feature_dim
from sslcli.nn.heads import mlp


class SimCLR(BatchContrast):
    """Contrast two views of every image with those of all others (section 2.1, algorithm 1).

    The loss is NT-Xent of z = projector(encoder(x)). Both views go through in one pass, so that
    BatchNorm sees them together, as in the official code.

    Args:
        config: Head and temperature.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    def __init__(self, config: SimCLRConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        hidden = [config.hidden] if config.projector == "mlp" else []
        self.projector: nn.Module = nn.Identity()
        if config.projector != "none":
            self.projector = projection_head([feature_dim(encoder), *hidden, config.dim])

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the projections of the first two views, each [B, D]."""
        together: Tensor = self.projector(self.encoder(torch.cat(batch.views[:2])))  # [2B, D]
        return together.chunk(2)

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return NT-Xent in nats; ln(2N - 1) is that of a guess among N images."""
        a, b = (gather_with_gradient(z) for z in embeddings)  # [W * B, D]
        loss = nt_xent(a, b, self.config.temperature)
        metrics = {"contrast_top1": partner_top1(a, b)}
        scale = 2 if self.config.add_directions else 1
        chance = scale * math.log(2 * len(a) - 1)
        return Output(scale * loss, metrics, embeddings=embeddings[0].detach(), chance=chance)


def projection_head(sizes: Sequence[int]) -> nn.Sequential:
    """Return the head of both papers' code: BatchNorm after every layer, the last without shift."""
    head = mlp(sizes, output_norm="affine")
    shift = head[-1].bias
    assert isinstance(shift, nn.Parameter)
    shift.requires_grad_(False)
    return head


def partner_top1(a: Tensor, b: Tensor) -> Tensor:
    """Return the share of all 2N views whose nearest other view is their partner, a scalar."""
    return nearest_top1(torch.cat([a, b]), torch.arange(len(a), device=a.device).repeat(2))
