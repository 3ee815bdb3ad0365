"""ESimCSE: SimCSE whose second view has words repeated, with the keys of earlier sentences.

Wu et al. 2022, arXiv:2109.04380. Traps: a repetition never touches the start, the end or padding
(the views' `repeat` sees to that); the moving average is copied after weights are loaded, and runs
without dropout on the original sentence; its keys pass through the head of training, which is not
averaged. The official code moves the average before each batch's keys; moving it after the step
before is the same.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sslcli.config.methods.sentences import ESimCSEConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather, gather_with_gradient
from sslcli.losses.contrastive import own_key_top1
from sslcli.losses.precision import at_least_float32
from sslcli.losses.text import esimcse
from sslcli.memory.queue import Queue
from sslcli.methods.base import BatchContrast, Output, Progress, feature_dim
from sslcli.methods.sentences import Vectors
from sslcli.nn.target import follow, target_of


class ESimCSE(BatchContrast):
    """Tell each sentence's partner from those of the batch and of a queue (section 3, eq. 6).

    Args:
        config: Read-out, temperature, queue and momentum.
        encoder: Of texts, with the weights that it starts from.

    Raises:
        ConfigError: If the encoder cannot be read out so.
    """

    def __init__(self, config: ESimCSEConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.vectors = Vectors(config, encoder)
        self.target: nn.Module | None = None
        if config.queue:
            self.target = target_of(encoder).eval()
            self.queue = Queue(config.queue, feature_dim(encoder))

    @property
    def projector(self) -> nn.Module:
        """The head that training alone has."""
        return self.vectors.head

    def train(self, mode: bool = True) -> "ESimCSE":
        """Set the mode of all but the moving average, which makes keys without dropout."""
        super().train(mode)
        if self.target is not None:
            self.target.eval()
        return self

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the vectors of the sentence and of the one with repetitions, and the keys."""
        original, repeated = batch.texts[:2]
        vectors = self.vectors.of(self.encoder, [original, repeated])
        if self.target is None:
            return tuple(vectors)
        with torch.no_grad():
            (keys,) = self.vectors.of(self.target, [original])
        return *vectors, at_least_float32(keys)

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats; ln N is that of a guess among N sentences without a queue."""
        a, b = (gather_with_gradient(z) for z in embeddings[:2])  # [W * B, D]
        past, held, carry = b[:0].detach(), None, {}
        if self.target is not None:
            past, held = self.queue.rows.clone(), self.queue.held.clone()  # the queue moves on
            carry = {"keys": embeddings[2].detach(), "rows": batch.rows}
        loss = esimcse(a, b, past, self.config.temperature, held)
        metrics = {"contrast_top1": own_key_top1(a, b)}
        chance = math.log(len(a) + len(past))
        return Output(loss, metrics, carry, embeddings[0].detach(), chance)

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Queue the keys of all processes, and move the average (eq. 5)."""
        if self.target is None:
            return
        order = gather(carry["rows"]).argsort()  # or which keys leave it depends on the processes
        self.queue.push(gather(carry["keys"])[order])
        follow(self.target, self.encoder, self.config.momentum)
        if self.config.empty_queue and progress.step % progress.steps_per_epoch == 0:
            self.queue.held.zero_()
            self.queue.pointer.zero_()
