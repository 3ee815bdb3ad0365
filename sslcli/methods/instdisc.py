"""InstDisc: every image is a class, whose weights are the image's own former embedding.

Wu et al. 2018, arXiv:1805.01978. Traps: the memory is indexed by row in the data set and written
after the step, without gradient; Z is estimated once, from the first batch, and so depends on the
seed of the memory; a drawn negative may be the image itself; exponentials are in float32. The
official code has no proximal term; the moving average of the memory replaces it.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.instance import InstDiscConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather, mean_row
from sslcli.errors import ConfigError
from sslcli.losses.nce import candidate_chance, estimated_normalizer, instance_nce
from sslcli.losses.precision import at_least_float32, inner_products
from sslcli.memory.bank import Bank
from sslcli.methods.base import Method, Output, Progress, feature_dim


class InstDisc(Method):
    """Classify an image among all images of the data set (section 3).

    With unit embeddings v and memory rows m, P(i|v) = exp(m_i v / T) / Z (eq. 2). The loss is the
    cross-entropy of the whole softmax, or NCE (section 3.2). Every process keeps the whole memory
    and writes the embeddings of all.

    Args:
        config: Head, memory and loss.
        encoder: Maps images to [B, encoder.feature_dim].

    Raises:
        ConfigError: If the number of images is unknown.
    """

    gathers = True
    normalizer: Tensor

    def __init__(self, config: InstDiscConfig, encoder: nn.Module) -> None:
        super().__init__()
        if config.num_instances is None:
            hint = "set it to the number of training images"
            raise ConfigError("the size of the memory is unknown", "method.num_instances", hint)
        self.config = config
        self.encoder = encoder
        self.head = nn.Linear(feature_dim(encoder), config.dim)
        self.bank = Bank(config.num_instances, config.dim)
        self.register_buffer("normalizer", torch.zeros(()))  # Z, 0 before the first batch
        self.over_batch = ("the first step's estimates of Z",) if config.negatives else ()

    @property
    def projector(self) -> nn.Module:
        """The head, as other methods call it; checkpoints know it as `head`."""
        return self.head

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats: of the softmax, or of noise-contrastive estimation."""
        projected = self.head(self.encoder(batch.views[0]))
        embeddings = functional.normalize(at_least_float32(projected), dim=1)
        classify = self._estimation if self.config.negatives else self._softmax
        loss, is_right, carry = classify(embeddings, batch.rows)
        if self.config.proximal:
            former = self.bank.rows[batch.rows]
            loss = loss + self.config.proximal * (embeddings - former).square().sum(dim=1).mean()
        carry |= {"rows": batch.rows, "embeddings": embeddings.detach()}
        metrics = {"instance_top1": is_right.float().mean()}
        return Output(loss, metrics, carry, embeddings.detach(), self._chance())

    def _softmax(
        self, embeddings: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the cross-entropy among all images (eq. 2), and where it is right."""
        scores = inner_products(embeddings, self.bank.rows) / self.config.temperature  # [B, N]
        return functional.cross_entropy(scores, rows), scores.argmax(dim=1) == rows, {}

    def _estimation(
        self, embeddings: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the loss against uniformly drawn rows, whether the own row wins, and Z."""
        shape = (len(rows), self.config.negatives)
        drawn = torch.randint(len(self.bank), shape, device=rows.device)
        candidates = self.bank.rows[torch.cat([rows[:, None], drawn], dim=1)]  # [B, 1 + m, D]
        with torch.autocast(rows.device.type, enabled=False):
            scores = torch.einsum("bd,bkd->bk", embeddings, candidates) / self.config.temperature
        positive, negatives = scores[:, 0], scores[:, 1:]
        normalizer = self._normalizer(scores)
        loss = instance_nce(positive, negatives, len(self.bank), normalizer)
        is_right = (positive[:, None] >= negatives).all(dim=1)
        return loss, is_right, {"normalizer": normalizer.expand(len(rows))}

    def _normalizer(self, scores: Tensor) -> Tensor:
        """Return Z, which the first batch estimates for all others."""
        estimate = estimated_normalizer(scores, len(self.bank))
        return self.normalizer.where(self.normalizer > 0, estimate)

    def _chance(self) -> float:
        count = self.config.negatives
        return candidate_chance(count) if count else math.log(len(self.bank))

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Move the images' rows towards their embeddings, and keep Z."""
        self.bank.update(gather(carry["rows"]), gather(carry["embeddings"]), self.config.momentum)
        if "normalizer" in carry:
            self.normalizer.copy_(mean_row(carry["normalizer"].double()))
