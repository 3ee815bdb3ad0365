"""Losses of sentence encoders, which tell each sentence's partner from those of the others.

Raw embeddings go in; they are normalised here, in float32 at least. For many processes gather each
argument with its gradient first (`distributed.collective.gather_with_gradient`).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.losses.contrastive import cosines, nt_xent


def simcse(
    a: Float[Tensor, "batch dim"],
    b: Float[Tensor, "batch dim"],
    temperature: float,
    hard: Float[Tensor, "batch dim"] | None = None,
    hard_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Find each sentence's partner (Gao et al. 2021, arXiv:2104.08821, eq. 1 and appendix eq. 8).

    One direction: rows are `a`, and no row meets another of `a`. The hard negatives of all rows are
    candidates of every row; the weight alpha counts for a row's own alone.

    Args:
        a: Raw embeddings of the anchors, shape [B, D].
        b: Raw embeddings of their partners, in the same order, shape [B, D].
        temperature: What cosines are divided by, above 0.
        hard: Raw embeddings of the anchors' hard negatives, shape [B, D].
        hard_weight: alpha, how many times a row's own hard negative counts. The official code's
            `hard_negative_weight` is its logarithm.

    Returns:
        Scalar mean in nats; ln B when all cosines are equal, or ln 2B with hard negatives.

    Raises:
        ValueError: If `temperature` or `hard_weight` is not positive.
    """
    scores = cosines(a, b, temperature)  # [B, B]
    if hard is not None:
        if not hard_weight > 0:
            raise ValueError(f"hard_weight must be positive, got {hard_weight}")
        others = cosines(a, hard, temperature)
        own = torch.eye(len(a), dtype=others.dtype, device=others.device)
        scores = torch.cat([scores, others + math.log(hard_weight) * own], dim=1)  # [B, 2B]
    return functional.cross_entropy(scores, torch.arange(len(a), device=a.device))


def esimcse(
    a: Float[Tensor, "batch dim"],
    b: Float[Tensor, "batch dim"],
    queue: Float[Tensor, "queue dim"],
    temperature: float,
    held: Int[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Find each sentence's partner among those of the batch and a queue (Wu et al. 2022, eq. 6).

    arXiv:2109.04380. Every row meets the whole queue.

    Args:
        a: Raw embeddings of the sentences, shape [B, D].
        b: Raw embeddings of the same with words repeated, shape [B, D].
        queue: Keys of earlier batches, no gradient, shape [q, D]; q may be 0.
        temperature: What cosines are divided by, above 0.
        held: Rows of the queue that are filled, from the first on; None for all.

    Returns:
        Scalar mean in nats; ln(B + q) when all cosines are equal, SimCSE's with an empty queue.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    past = cosines(a, queue, temperature)  # [B, q]
    if held is not None:
        is_empty = torch.arange(len(queue), device=queue.device) >= held
        past = past.masked_fill(is_empty, -torch.inf)
    scores = torch.cat([cosines(a, b, temperature), past], dim=1)  # [B, B + q]
    return functional.cross_entropy(scores, torch.arange(len(a), device=a.device))


def consert(
    a: Float[Tensor, "batch dim"], b: Float[Tensor, "batch dim"], temperature: float
) -> Float[Tensor, ""]:
    """Add the NT-Xent of both directions, as ConSERT's code does (Yan et al. 2021, eq. 1).

    arXiv:2105.11741. It is twice the mean over 2B.

    Args:
        a: Raw embeddings of the first views, shape [B, D].
        b: Raw embeddings of the second views, in the same order, shape [B, D].
        temperature: What cosines are divided by, above 0.

    Returns:
        Scalar in nats; 2 ln(2B - 1) when all cosines are equal.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    return 2 * nt_xent(a, b, temperature)
