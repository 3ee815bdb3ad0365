"""InvaSpread: two views of an image attract, all other images of the batch repel.

Ye et al. 2019, arXiv:1904.03436. Traps: right-hand factors are detached, so the gradient flows
through each anchor only and a pair counts once, not twice; a negative of probability 1 would cost
infinitely much, so probabilities are clamped below 1. The paper compares an image with one
augmentation of it, the official code, as here, two augmentations.
"""

import torch
from torch import Tensor, nn

from sslcli.config.methods.instance import InvaSpreadConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather_with_gradient
from sslcli.losses.contrastive import invariant_spread, nearest_top1
from sslcli.losses.nce import candidate_chance
from sslcli.methods.base import BatchContrast, Output, Progress, feature_dim


class InvaSpread(BatchContrast):
    """Classify each view as its partner among all views, and no other view as it (section 3).

    Both views go through in one pass, as in the official code. The batch is that of all processes,
    where the paper has one.

    Args:
        config: Head and loss.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    def __init__(self, config: InvaSpreadConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.head = nn.Linear(feature_dim(encoder), config.dim)

    @property
    def projector(self) -> nn.Module:
        """The head, as other methods call it; checkpoints know it as `head`."""
        return self.head

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the embeddings of the first two views, each [B, D]."""
        together: Tensor = self.head(self.encoder(torch.cat(batch.views[:2])))  # [2B, D]
        return together.chunk(2)

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss over the views of all processes, in nats."""
        a, b = (gather_with_gradient(z) for z in embeddings)  # [W * B, D]
        config = self.config
        loss = invariant_spread(a, b, config.temperature, config.negatives)
        images = torch.arange(len(a), device=a.device).repeat(2)
        metrics = {"contrast_top1": nearest_top1(torch.cat([a, b]), images)}
        rivals = (2 if config.negatives == "all" else 1) * (len(a) - 1)
        chance = candidate_chance(rivals)
        return Output(loss, metrics, embeddings=embeddings[0].detach(), chance=chance)
