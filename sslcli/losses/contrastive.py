"""Losses that tell each embedding's positives from the rest of the batch.

Raw embeddings go in; they are normalised here, in float32 at least. For many processes gather each
view with its gradient first (`engine.collective.gather_with_gradient`): every process then computes
the loss of the whole batch, and averaged gradients are those of one process that has all of it.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.losses.precision import full


def nt_xent(
    a: Float[Tensor, "batch dim"], b: Float[Tensor, "batch dim"], temperature: float
) -> Float[Tensor, ""]:
    """Tell a view's partner from the 2N - 2 others (Chen et al. 2020, arXiv:2002.05709, eq. 1).

    The mean over all 2N views; the official TensorFlow code sums the means of both directions,
    which is twice this.

    Args:
        a: Raw projections of the first views, shape [N, D].
        b: Raw projections of the second views, in the same order, shape [N, D].
        temperature: What similarities are divided by, above 0.

    Returns:
        Scalar in nats; ln(2N - 1) when all similarities are equal.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    scores = _scores(torch.cat([a, b]), temperature)  # [2N, 2N]
    partners = torch.arange(len(scores), device=scores.device).roll(len(a))
    return functional.cross_entropy(scores, partners)


def sup_con(
    embeddings: Float[Tensor, "views dim"],
    labels: Int[Tensor, " views"],
    temperature: float,
    form: Literal["out", "in"] = "out",
) -> Float[Tensor, ""]:
    """Tell views of an anchor's class apart (Khosla et al. 2020, arXiv:2004.11362, eq. 2, 3).

    "out" averages the log-probabilities of the positives (the paper's choice), "in" takes the log
    of their average probability, which is never larger. An anchor without positives counts as 0.
    With two views an image and all labels different, both are NT-Xent. The official code also
    multiplies by temperature / 0.07.

    Args:
        embeddings: Raw projections of all views, shape [V, D].
        labels: Class of each view, shape [V].
        temperature: What similarities are divided by, above 0.
        form: Where the average over positives stands.

    Returns:
        Scalar mean over anchors, in nats.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    log_share = _scores(embeddings, temperature).log_softmax(dim=1)  # [V, V]
    is_positive = labels[:, None] == labels[None, :]
    is_positive = is_positive.fill_diagonal_(False)
    count = is_positive.sum(dim=1)
    if form == "out":
        log_share = log_share.where(is_positive, 0.0)
        return -(log_share.sum(dim=1) / count.clamp(min=1)).mean()
    log_share = log_share.where(is_positive, -torch.inf).where(count[:, None] > 0, 0.0)
    each = count.clamp(min=1).to(log_share).log() - log_share.logsumexp(dim=1)
    return each.where(count > 0, 0.0).mean()


def _scores(embeddings: Tensor, temperature: float) -> Tensor:
    """Return cosines over the temperature, -inf where an embedding meets itself."""
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    unit = functional.normalize(full(embeddings), dim=1)
    scores = unit @ unit.T / temperature
    return scores.masked_fill(
        torch.eye(len(unit), dtype=torch.bool, device=unit.device), -torch.inf
    )
