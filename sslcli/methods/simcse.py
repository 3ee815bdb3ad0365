"""SimCSE: a sentence finds itself behind other dropout, or the one that follows from it.

Gao et al. 2021, arXiv:2104.08821. Traps: dropout is the augmentation, so the encoder must be in
training mode, and views are rows of their own; one direction alone is learned; an evaluation that
reads the vector elsewhere than training did loses up to 18 points, so the encoder's own `pooler`
decides, and the head of unsupervised training is thrown away. The official code divides gradients
by the number of processes; this one does not.
"""

import math

import torch
from torch import Tensor, nn

from sslcli.config.methods.sentences import SimCSEConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather_with_gradient
from sslcli.losses.contrastive import own_key_top1
from sslcli.losses.text import simcse
from sslcli.methods.base import BatchContrast, Output, Progress
from sslcli.methods.sentences import HiddenWords, Vectors, joined, mean_of


class SimCSE(BatchContrast):
    """Tell each sentence's partner from those of the others (eq. 1 and 5).

    Two views of one sentence are the same tokens, encoded in one pass as two rows. Sentences 1, 2
    and 3 of a row are a premise, what follows from it, and what contradicts it.

    Args:
        config: Read-out, temperature and ablations.
        encoder: Of texts.

    Raises:
        ConfigError: If the encoder cannot be read out so.
    """

    def __init__(self, config: SimCSEConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.vectors = Vectors(config, encoder)
        self.words = HiddenWords(config, encoder) if config.mlm_weight else None

    @property
    def projector(self) -> nn.Module:
        """The head that training alone has."""
        return self.vectors.head

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the vectors of the first three views, [B, D] each; sums of guesses as the last."""
        texts = batch.texts[:3]
        vectors = self.vectors.of(self.encoder, texts)
        if self.words is None:
            return tuple(vectors)
        guessed = self.words(self.encoder, joined(texts)).view(len(texts), -1, 2)
        return *vectors, guessed.sum(dim=0)

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats; ln N, or ln 2N with hard negatives, is that of a guess."""
        count = min(3, len(batch.texts))
        a, b, *hard = (gather_with_gradient(z) for z in embeddings[:count])  # [W * B, D]
        negatives = hard[0] if hard else None
        loss = simcse(a, b, self.config.temperature, negatives, self.config.hard_weight)
        metrics = {"contrast_top1": own_key_top1(a, torch.cat([b, *hard]))}
        chance: float | None = math.log(len(a) * (1 + len(hard)))
        if self.words is not None:
            guessing = mean_of(gather_with_gradient(embeddings[-1]))
            metrics["mlm_loss"] = guessing.detach()
            loss, chance = loss + self.config.mlm_weight * guessing, None
        return Output(loss, metrics, embeddings=embeddings[0].detach(), chance=chance)
