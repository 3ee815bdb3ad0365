"""Train on a large batch in the memory of a small one, with the gradient of the whole batch.

A loss with in-batch negatives needs all embeddings at once, but no activations. Gradient caching
(Gao et al. 2021, arXiv:2101.06983) embeds the batch in chunks and keeps only the embeddings. It
takes the gradient of the loss with respect to these, then embeds every chunk a second time to pass
that gradient on to the weights. torch's checkpointing does exactly this when it recomputes one
chunk at a time, and it works with gathers, gradient averaging, autocast and a loss scaler.

BatchNorm is the exception to exactness: it normalises each chunk by the chunk's own statistics.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import ceil

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sslcli.data.batch import Batch
from sslcli.methods.base import BatchContrast, Output, Progress


class Chunked(nn.Module):
    """A method's forward that embeds its batch in chunks.

    Args:
        method: Its `embed` is called with each chunk, its `compare` with all embeddings.
        size: Samples of a chunk, at most; the chunks of a batch are of nearly equal size.
    """

    def __init__(self, method: BatchContrast, size: int) -> None:
        super().__init__()
        self.method, self.size = method, size

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss of one batch."""
        count = ceil(len(batch) / self.size)
        if count == 1:
            return self.method.forward(batch, progress)
        embedded = [self._embed(chunk) for chunk in batch.chunks(count)]
        joined = tuple(torch.cat(parts) for parts in zip(*embedded, strict=True))
        return self.method.compare(joined, batch, progress)

    def _embed(self, chunk: Batch) -> tuple[Tensor, ...]:
        """Embed a chunk now and, with the same random numbers, in the backward pass."""
        embeddings: tuple[Tensor, ...] = checkpoint(
            self.method.embed, chunk, use_reentrant=False, context_fn=self._passes
        )
        return embeddings

    def _passes(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), statistics_kept(self.method)


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let BatchNorm update copies of its running statistics: these samples have been counted."""
    norms = [module for module in network.modules() if "running_mean" in module._buffers]
    kept = [norm._buffers for norm in norms]
    for norm in norms:
        norm._buffers = {n: None if x is None else x.clone() for n, x in norm._buffers.items()}
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers = buffers
