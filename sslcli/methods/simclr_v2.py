"""SimCLR v2: SimCLR with a memory and a deeper head, whose first layer is kept for fine-tuning.

Chen et al. 2020, arXiv:2006.10029. The paper's other two stages (figure 3) are `ssl finetune
--from-head-layer 1` and `ssl distill`. Trap: partners come from the network, negatives of the queue
from its moving average. If the average lags far behind, the two are easy to tell apart.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.contrastive import SimCLRv2Config
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather, gather_with_gradient
from sslcli.losses.contrastive import nt_xent
from sslcli.losses.precision import at_least_float32
from sslcli.memory.queue import Queue
from sslcli.methods.base import BatchContrast, Output, Progress, feature_dim
from sslcli.methods.simclr import partner_top1, projection_head
from sslcli.nn.target import follow, target_of


class SimCLRv2(BatchContrast):
    """Contrast views with those of the batch and, if there is a memory, of earlier ones.

    The memory (section 2 and MoCo, arXiv:1911.05722) is a moving average of encoder and head, whose
    embeddings of the second views are queued as further negatives. Partners are the network's own
    embeddings. Like MoCo's, the queue starts with random unit vectors.

    Args:
        config: Head, temperature and memory.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    def __init__(self, config: SimCLRv2Config, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        hidden = [config.hidden] * (config.projector_layers - 1)
        self.projector = projection_head([feature_dim(encoder), *hidden, config.dim])
        self.target: nn.Module | None = None
        if config.queue:
            self.target = target_of(nn.Sequential(encoder, self.projector))
            self.queue = Queue(config.queue, config.dim).fill()

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the projections of the first two views, and the memory's of the second."""
        together: Tensor = self.projector(self.encoder(torch.cat(batch.views[:2])))  # [2B, D]
        if self.target is None:
            return together.chunk(2)
        with torch.no_grad():
            key = functional.normalize(at_least_float32(self.target(batch.views[1])), dim=1)
        return *together.chunk(2), key

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return NT-Xent over batch and memory, in nats."""
        a, b = (gather_with_gradient(z) for z in embeddings[:2])  # [W * B, D]
        memory = self.queue.rows.clone() if self.config.queue else None  # the queue moves on
        loss = nt_xent(a, b, self.config.temperature, memory)
        scale = 2 if self.config.add_directions else 1
        chance = scale * math.log(2 * len(a) - 1 + self.config.queue)
        metrics = {"contrast_top1": partner_top1(a, b)}
        carry = {"key": embeddings[2].detach()} if self.config.queue else {}
        return Output(scale * loss, metrics, carry, embeddings[0].detach(), chance)

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Queue the memory's embeddings, and let the memory follow the network."""
        if self.target is not None:
            self.queue.push(gather(carry["key"]))
            follow(self.target, nn.Sequential(self.encoder, self.projector), self.config.momentum)
