"""ConSERT: a sentence finds itself behind noise on the embeddings of its tokens.

Yan et al. 2021, arXiv:2105.11741. Traps: noise acts behind the LayerNorm of the embeddings, so on
word and place; counts are exact and nothing is scaled up; the encoder's own dropout is 0, or it
would be a third noise; the loss is the sum of both directions, twice the usual NT-Xent, times
`weight`; training reads the mean of the last layer, evaluation that of the last two.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.sentences import ConSERTConfig, NoiseConfig
from sslcli.data.batch import Batch, Tokens
from sslcli.distributed.collective import gather_with_gradient
from sslcli.losses.text import consert
from sslcli.methods.base import BatchContrast, Output, Progress, feature_dim
from sslcli.methods.sentences import Vectors
from sslcli.methods.simclr import partner_top1
from sslcli.nn.cutoff import dropout_cutoff, feature_cutoff, shuffled_positions, token_cutoff

_CUTS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "token_cutoff": token_cutoff,
    "feature_cutoff": feature_cutoff,
    "dropout": dropout_cutoff,
}


class ConSERT(BatchContrast):
    """Contrast two noisy views of every sentence (section 3.2 and eq. 1).

    With `pair_classes` the second sentence of each row is contrasted too, and a classifier of both
    vectors and their difference learns how it relates to the first (section 3.4).

    Args:
        config: Noise, temperature, and the classifier.
        encoder: Of texts.

    Raises:
        ConfigError: If the encoder cannot be read out so.
    """

    def __init__(self, config: ConSERTConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.vectors = Vectors(config, encoder)
        self.encoder = encoder
        self.classifier: nn.Module | None = None
        if config.pair_classes is not None:
            parts = 4 if config.max_square else 3
            self.classifier = nn.Linear(parts * feature_dim(encoder), config.pair_classes)

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return both views of each sentence, [B, D] each, and the logits of the pair, [B, C]."""
        sentences = batch.texts[: 1 if self.classifier is None else 2]
        noises = (self.config.first, self.config.second) if self.config.weight else ()
        views = [self._view(text, noise) for text in sentences for noise in noises]
        if self.classifier is None:
            return tuple(views)
        u, v = self.vectors.of(self.encoder, sentences)
        parts = [u, v, (u - v).abs()]
        parts += [torch.maximum(u, v).square()] if self.config.max_square else []
        return *views, self.classifier(torch.cat(parts, dim=1))

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats."""
        metrics: dict[str, Tensor] = {}
        views = embeddings if self.classifier is None else embeddings[:-1]
        losses = []
        for a, b in zip(views[::2], views[1::2], strict=True):
            a, b = gather_with_gradient(a), gather_with_gradient(b)  # [W * B, D]
            losses.append(self.config.weight * consert(a, b, self.config.temperature))
            metrics.setdefault("contrast_top1", partner_top1(a, b))
        chance: float | None = None
        if self.classifier is None:
            chance = self.config.weight * 2 * math.log(2 * len(a) - 1)
        else:
            logits = embeddings[-1].float()
            assert batch.labels is not None, "the section learns labels"
            losses.append(functional.cross_entropy(logits, batch.labels))
            metrics["pair_top1"] = (logits.argmax(dim=1) == batch.labels).float().mean()
        spread = views[0].detach() if views else None
        return Output(torch.stack(losses).sum(), metrics, embeddings=spread, chance=chance)

    def _view(self, text: Tokens, noise: NoiseConfig) -> Tensor:
        """Return the vectors of sentences under a noise, [B, H]."""
        if noise.kind == "adversarial":
            return self._encoded(text, change=self._adversarial(text, noise))
        if noise.kind == "shuffle":
            return self._encoded(text, positions=shuffled_positions(text.mask))
        if noise.kind == "none":
            return self._encoded(text)
        cut, rate = _CUTS[noise.kind], noise.rate or 0.0
        return self._encoded(text, change=lambda embeddings: cut(embeddings, text.mask, rate))

    def _encoded(
        self,
        text: Tokens,
        *,
        positions: Tensor | None = None,
        change: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        encoder: Any = self.encoder
        states = encoder.hidden_states(text.ids, text.mask, positions=positions, change=change)
        vectors: Tensor = self.vectors(encoder, states, text.mask)
        return vectors

    def _adversarial(self, text: Tokens, noise: NoiseConfig) -> Callable[[Tensor], Tensor]:
        """Return a step of fixed length at each token, up the loss of two clean views.

        The paper's step climbs the loss of a classifier, which unsupervised training has not; that
        of two clean views is this project's. Weights get no gradient from it.
        """
        shifts: list[Tensor] = []

        def shifted(embeddings: Tensor) -> Tensor:
            shifts.append(torch.zeros_like(embeddings, requires_grad=True))
            return embeddings.detach() + shifts[-1]

        with torch.enable_grad():
            clean = [gather_with_gradient(self._encoded(text, change=shifted)) for _ in range(2)]
            loss = consert(clean[0], clean[1], self.config.temperature)
            gradient = torch.stack(torch.autograd.grad(loss, shifts)).sum(dim=0)  # [B, L, H]
        step = (noise.step or 0) * gradient / (gradient.norm(dim=2, keepdim=True) + 1e-10)
        return step.detach().add
