"""CMC: views of an image that share what is there, such as its light and its colours.

Tian et al. 2020, arXiv:1906.05849. Traps: crop and flip come before the channels part, so that
views show the same place (two crops in a config let them show different ones); no weights are
shared; every view has a memory of its own, and all directions of all pairs meet the same drawn
rows, the own one first; a view meets the memory of the other; Z is estimated by the first batch,
for each direction. Evaluation reads the features of all networks joined.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.cmc import CMCConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import (
    gather,
    gather_with_gradient,
    mean_row,
    rank,
    world_size,
)
from sslcli.errors import ConfigError
from sslcli.losses.cmc import bank_scores, nce_of
from sslcli.losses.contrastive import clip, info_nce, own_key_top1
from sslcli.losses.nce import candidate_chance, estimated_normalizer
from sslcli.losses.precision import at_least_float32, inner_products
from sslcli.memory.bank import Bank
from sslcli.methods.base import BatchContrast, Output, Progress
from sslcli.nn.split import SplitEncoder

_FEW = 16  # times as many rows as are drawn: the product with all costs less than a copy of each


class CMC(BatchContrast):
    """Find an image by one view among memories of another.

    With views i and j of a pair, v their unit embeddings and m the memories' rows, a direction's
    scores are m_j v_i / T over the own row and K drawn ones. The loss is the sum over pairs, both
    directions each: of every two views (full graph), or of the first and each other (core view).

    Args:
        config: Head, memories, loss and graph.
        encoder: Networks that see some channels each.

    Raises:
        ConfigError: If the encoder is not split, or the number of images is unknown.
    """

    normalizers: Tensor

    def __init__(self, config: CMCConfig, encoder: nn.Module) -> None:
        super().__init__()
        if not isinstance(encoder, SplitEncoder) or len(encoder.dims) < 2:
            hint = "set it to [[0], [1, 2]], L and ab when data.space is lab"
            what = "CMC contrasts parts of an image, and this encoder has fewer than two"
            raise ConfigError(what, "encoder.split", hint)
        self.config = config
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(dim, config.dim) for dim in encoder.dims)
        views = range(len(encoder.dims))
        self.pairs = list(combinations(views, 2))
        if config.graph == "core":
            self.pairs = [(0, other) for other in views[1:]]
        banks = views if config.loss != "batch" else ()
        self.banks: Any = nn.ModuleList(Bank(self._instances, config.dim) for _ in banks)
        # Z of view i against the memory of j; 0 before the first batch.
        self.register_buffer("normalizers", torch.zeros(len(views), len(views)))
        if config.loss != "batch":
            self.over_batch = ("the first step's estimates of Z",) if config.loss == "nce" else ()

    @property
    def _instances(self) -> int:
        if self.config.num_instances is None:
            hint = "set it to the number of training images"
            raise ConfigError("the size of the memory is unknown", "method.num_instances", hint)
        return self.config.num_instances

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the embedding of each view, [B, D] each, of one crop or of crops in turn."""
        features = self.encoder(*batch.views).split(self.encoder.dims, dim=1)
        return tuple(head(each) for head, each in zip(self.heads, features, strict=True))

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats, summed over both directions of all pairs."""
        units = [functional.normalize(at_least_float32(each), dim=1) for each in embeddings]
        contrast = self._in_batch if self.config.loss == "batch" else self._with_memory
        losses, right, carry = contrast(units, batch, progress)
        carry["rows"] = batch.rows
        carry["embeddings"] = torch.stack(units, dim=1).detach()  # [B, views, D]
        metrics = {"contrast_top1": torch.stack(right).mean()}
        joined = carry["embeddings"].flatten(1)
        return Output(torch.stack(losses).sum(), metrics, carry, joined, self._chance(len(batch)))

    def _in_batch(
        self, units: list[Tensor], batch: Batch, progress: Progress
    ) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
        """Return each pair's loss among the images of all processes, and how often it is right."""
        everyone = [gather_with_gradient(each) for each in units]  # [W * B, D]
        first, scale = rank() * len(batch), 1 / self.config.temperature
        losses, right = [], []
        for i, j in self.pairs:
            among = everyone[i], everyone[j]
            losses.append(2 * clip(units[i], units[j], scale, first, among))
            right += [own_key_top1(units[a], everyone[b], first) for a, b in ((i, j), (j, i))]
        return losses, right, {}

    def _with_memory(
        self, units: list[Tensor], batch: Batch, progress: Progress
    ) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
        """Return each direction's loss, how often the own row wins, and Z."""
        index = torch.cat([batch.rows[:, None], self._drawn(batch.rows)], dim=1)  # [B, 1 + K]
        found, losses, right = self.normalizers.clone(), [], []
        for i, j in self._directions():
            scores = self._scores(units[i], self.banks[j], index)
            if self.config.loss == "softmax":
                losses.append(info_nce(scores))
            else:
                found[i, j] = self._normalizer(scores, found[i, j], progress)
                losses.append(nce_of(scores, self._instances, found[i, j].clone()))
            right.append((scores[:, :1] >= scores[:, 1:]).all(dim=1).float().mean())
        return losses, right, {"normalizers": found.expand(len(batch), *found.shape)}

    def _scores(self, units: Tensor, memory: Bank, index: Tensor) -> Tensor:
        """Score each image against its rows of a memory, [B, 1 + K]."""
        if len(memory) > _FEW * index.shape[1]:
            return bank_scores(units, memory.rows[index], self.config.temperature)
        return inner_products(units / self.config.temperature, memory.rows).gather(1, index)

    def _drawn(self, rows: Tensor) -> Tensor:
        """Draw rows, any of them again and the own one too, for all views alike, [B, K]."""
        shape = (len(rows), self.config.negatives)
        return torch.randint(self._instances, shape, device=rows.device)

    def _normalizer(self, scores: Tensor, known: Tensor, progress: Progress) -> Tensor:
        """Return Z, which the first batch of all processes estimates for all others."""
        if progress.step > 0:
            return known
        estimate = estimated_normalizer(scores, self._instances)
        return known.where(known > 0, mean_row(estimate.expand(len(scores))))

    def _directions(self) -> Iterator[tuple[int, int]]:
        for i, j in self.pairs:
            yield i, j
            yield j, i

    def _chance(self, batch_size: int) -> float:
        """Return the loss of a guess: both directions of every pair."""
        count = self.config.negatives
        each = candidate_chance(count)
        if self.config.loss != "nce":
            others = count or world_size() * batch_size - 1
            each = math.log1p(others)
        return 2 * len(self.pairs) * each

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Move the images' rows of every view towards their embeddings, and keep Z."""
        if not self.banks:
            return
        rows, embeddings = gather(carry["rows"]), gather(carry["embeddings"])
        for view, bank in enumerate(self.banks):
            bank.update(rows, embeddings[:, view], self.config.momentum)
        self.normalizers.copy_(mean_row(carry["normalizers"].double()))
