"""MoCo v1 and v2: each query finds its key among a queue of keys from a slow copy of the encoder.

He et al. 2020, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297. Traps: queries and keys of one
image must not share BatchNorm statistics, or these give the match away (section 3.3), which an
accuracy close to 1 early in training reveals; keys are queued after the loss; parameters are
averaged and buffers are not; the key encoder runs in training mode. The official code moves the key
encoder before its pass. That equals moving it after the previous step, since no weight changes in
between.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.instance import MoCoConfig, MoCoV2Config
from sslcli.data.batch import Batch
from sslcli.distributed.collective import deal, gather, permutation, world_size
from sslcli.errors import ConfigError
from sslcli.losses.contrastive import info_nce, key_scores
from sslcli.losses.precision import at_least_float32
from sslcli.memory.queue import Queue
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.nn.heads import mlp
from sslcli.nn.norm import split_batch_norm
from sslcli.nn.target import follow, target_of


class MoCo(Method):
    """Tell a query's key from the keys of earlier batches (section 3, algorithm 1).

    ShuffleBN (section 3.3): keys are encoded in another order than queries, over all processes, so
    that BatchNorm groups them with other samples. One process can do the same in `splits` parts of
    its batch.

    Args:
        config: Head, queue and ablations.
        encoder: Maps images to [B, encoder.feature_dim].

    Raises:
        ConfigError: If the parts do not spread over the processes.
    """

    gathers = True

    def __init__(self, config: MoCoConfig | MoCoV2Config, encoder: nn.Module) -> None:
        super().__init__()
        if config.splits > 1 and config.splits % world_size():
            what = f"{config.splits} BatchNorm parts do not spread over {world_size()} processes"
            raise ConfigError(what, "method.splits", "set it to 1, or a multiple of the processes")
        self.config = config
        self.encoder = split_batch_norm(encoder, max(1, config.splits // world_size()))
        self.head = self._make_head(feature_dim(encoder))
        self.target = target_of(self._online())
        self.queue = Queue(config.queue_size, config.dim).fill()

    def _make_head(self, width: int) -> nn.Module:
        return nn.Linear(width, self.config.dim)

    @property
    def projector(self) -> nn.Module:
        """The head, as other methods call it; checkpoints know it as `head`."""
        return self.head

    def _online(self) -> nn.Module:
        """Return the modules that the key encoder follows; registered, they were saved twice."""
        return nn.Sequential(self.encoder, self.head)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats of one direction, or the sum of both."""
        first, second = batch.views[:2]
        pairs = [(first, second), (second, first)] if self.config.symmetric else [(first, second)]
        queries = [self.head(self.encoder(view)) for view, _ in pairs]  # [B, D] each
        keys = [self._keys(view) for _, view in pairs]
        past, temperature = self.queue.rows, self.config.temperature
        scores = [key_scores(q, k, past, temperature) for q, k in zip(queries, keys, strict=True)]
        loss = torch.stack([info_nce(each) for each in scores]).sum()
        own, others = scores[0].detach()[:, 0], scores[0].detach()[:, 1:]
        metrics = {"contrast_top1": (own > others.amax(dim=1)).float().mean()}
        chance = len(pairs) * math.log(1 + len(past))
        carry = {"keys": torch.cat(keys)}
        return Output(loss, metrics, carry, queries[0].detach(), chance)

    @torch.no_grad()
    def _keys(self, images: Tensor) -> Tensor:
        """Return the keys of images, unit vectors [B, D]."""
        if not self.config.shuffle:
            return functional.normalize(at_least_float32(self.target(images)), dim=1)
        order = permutation(len(images), images.device)
        shuffled = functional.normalize(at_least_float32(self.target(deal(images, order))), dim=1)
        return deal(shuffled, order.argsort())

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Queue the keys of all processes, and move the key encoder (eq. 2)."""
        self.queue.push(gather(carry["keys"]))
        follow(self.target, self._online(), self.config.momentum)


class MoCoV2(MoCo):
    """MoCo with SimCLR's MLP head (v2, section 3); its views and schedule are the preset's."""

    config: MoCoV2Config

    def _make_head(self, width: int) -> nn.Module:
        if self.config.hidden is None:
            return super()._make_head(width)
        return mlp([width, self.config.hidden, self.config.dim], hidden_norm=False)
