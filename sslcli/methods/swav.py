"""SwAV: cluster the views of an image online, and predict one view's cluster from another's.

Caron et al. 2020, arXiv:2006.09882. Traps: assignments in float32 over the samples of all
processes; embeddings and prototypes are unit vectors (without it Sinkhorn gives NaN); frozen
prototypes get no gradient at all, since momentum and weight decay would move them with a zero one;
the queue is used only once it is full, and is saved with the run. A loss that stays at ln K is a
collapse: lower `epsilon` or freeze longer.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.clustering import SwAVConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather, rank, world_size
from sslcli.losses.precision import at_least_float32, inner_products
from sslcli.losses.swav import sinkhorn, swapped_prediction
from sslcli.memory.queue import Queue
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.nn.heads import mlp
from sslcli.nn.multi_crop import embed_views

ASSIGNED = 2  # the large crops; small ones only predict their assignments (section 3.3)


class SwAV(Method):
    """Swap the cluster assignments of the first two views (section 3.1 and 3.2).

    Further views, small ones as a rule, predict the assignments of the first two. Each process
    keeps the queue of all processes' embeddings, where the official code keeps its own share; the
    assignments are the same.

    Args:
        config: Head, prototypes, assignment and queue.
        encoder: Maps images of every view's size to [B, encoder.feature_dim].
    """

    gathers = True
    over_batch = ("Sinkhorn's assignments",)

    def __init__(self, config: SwAVConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.projector = mlp([feature_dim(encoder), config.hidden, config.dim], hidden_bias=True)
        self.prototypes = nn.Linear(config.dim, config.prototypes, bias=False)
        queues = ASSIGNED if config.queue else 0
        self.queues = nn.ModuleList(Queue(config.queue, config.dim) for _ in range(queues))
        self._normalize_prototypes()

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the swapped prediction's cross-entropy in nats."""
        embeddings = embed_views(self.encoder, self._project, batch.views)  # unit, [B, D] a view
        scores = [inner_products(z, self.prototypes.weight) for z in embeddings]  # [B, K] a view
        queues = self.queues if self._is_queueing(progress) else [None] * ASSIGNED
        assignments = [
            self._assign(score, queue)
            for score, queue in zip(scores[:ASSIGNED], queues, strict=True)
        ]
        loss = swapped_prediction(scores, assignments, self.config.temperature)
        assigned = torch.stack(embeddings[:ASSIGNED], dim=1).detach()  # [B, 2, D]
        carry = {"assigned": at_least_float32(assigned)} if self._is_queueing(progress) else {}
        metrics = {"swap_top1": _agreement(scores, assignments)}
        chance = math.log(self.config.prototypes)
        return Output(loss, metrics, carry, embeddings[0].detach(), chance)

    def _project(self, features: Tensor) -> Tensor:
        return functional.normalize(at_least_float32(self.projector(features)), dim=1)

    @torch.no_grad()
    def _assign(self, scores: Tensor, queue: nn.Module | None) -> Tensor:
        """Return the assignments of this process's samples, [B, K], balanced over all processes."""
        joined = gather(scores)  # [W * B, K]
        count = len(joined)
        if isinstance(queue, Queue):
            past = inner_products(queue.rows, self.prototypes.weight)
            is_full = queue.held == len(queue)
            joined = torch.cat([past.where(is_full, -torch.inf), joined])
        shares = sinkhorn(joined, self.config.epsilon, self.config.iterations)
        return shares[-count:].chunk(world_size())[rank()]

    def _is_queueing(self, progress: Progress) -> bool:
        begin = self.config.queue_from.steps(progress.steps_per_epoch, progress.total_steps)
        return bool(self.config.queue) and progress.step >= begin

    def before_step(self, progress: Progress) -> None:
        """Remove the gradient of frozen prototypes."""
        if self._is_frozen(progress.step, progress):
            self.prototypes.weight.grad = None

    def _is_frozen(self, step: int, progress: Progress) -> bool:
        frozen = self.config.freeze_prototypes
        return step < frozen.steps(progress.steps_per_epoch, progress.total_steps)

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Normalise the prototypes to unit length, and queue this step's embeddings."""
        if not self._is_frozen(progress.step - 1, progress):
            self._normalize_prototypes()
        if "assigned" in carry:
            for queue, embeddings in zip(self.queues, carry["assigned"].unbind(1), strict=True):
                assert isinstance(queue, Queue)
                queue.push(gather(embeddings))

    @torch.no_grad()
    def _normalize_prototypes(self) -> None:
        self.prototypes.weight.copy_(functional.normalize(self.prototypes.weight, dim=1))


def _agreement(scores: Sequence[Tensor], assignments: Sequence[Tensor]) -> Tensor:
    """Return how often the first view's cluster is the second view's best prototype, a scalar."""
    return (assignments[0].argmax(dim=1) == scores[1].argmax(dim=1)).float().mean()
