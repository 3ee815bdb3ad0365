"""Losses that tell each embedding's positives from the rest of the batch.

Raw embeddings go in; they are normalised here, in float32 at least. For many processes gather each
view with its gradient first (`distributed.collective.gather_with_gradient`): every process then
computes the loss of the whole batch, and the averaged gradients equal those of one process that has
all of it.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.losses.image_text import clip as clip
from sslcli.losses.image_text import siglip as siglip
from sslcli.losses.precision import at_least_float32, inner_products


def nt_xent(
    a: Float[Tensor, "batch dim"],
    b: Float[Tensor, "batch dim"],
    temperature: float,
    negatives: Float[Tensor, "memory dim"] | None = None,
) -> Float[Tensor, ""]:
    """Tell a view's partner from the 2N - 2 others (Chen et al. 2020, arXiv:2002.05709, eq. 1).

    The mean over all 2N views; the official TensorFlow code sums the means of both directions,
    which is twice this.

    Args:
        a: Raw projections of the first views, shape [N, D].
        b: Raw projections of the second views, in the same order, shape [N, D].
        temperature: What similarities are divided by, above 0.
        negatives: Embeddings that are nobody's partner, such as a memory's (SimCLR v2).

    Returns:
        Scalar in nats; ln(2N - 1) when all similarities are equal and there is no memory.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    views = torch.cat([a, b])
    scores = _scores(views, temperature)  # [2N, 2N]
    if negatives is not None:
        scores = torch.cat([scores, cosines(views, negatives, temperature)], dim=1)
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


def key_scores(
    query: Float[Tensor, "batch dim"],
    key: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "queue dim"],
    temperature: float,
) -> Float[Tensor, "batch candidates"]:
    """Score each query's own key, in column 0, and a queue's (He et al. 2020, arXiv:1911.05722).

    Args:
        query: Raw embeddings, shape [B, D].
        key: Raw embeddings of the same images by the key encoder, no gradient, shape [B, D].
        negatives: Keys of earlier batches, no gradient, shape [K, D].
        temperature: What similarities are divided by, above 0.

    Returns:
        Logits for `info_nce`, [B, 1 + K].

    Raises:
        ValueError: If `temperature` is not positive.
    """
    others = cosines(query, negatives, temperature)
    cosine = functional.cosine_similarity(at_least_float32(query), at_least_float32(key))
    own = cosine[:, None] / temperature  # [B, 1]
    return torch.cat([own, others], dim=1)


def info_nce(scores: Float[Tensor, "batch candidates"]) -> Float[Tensor, ""]:
    """Tell each query's key, in column 0, from the rest (He et al. 2020, eq. 1).

    Returns:
        Scalar mean in nats; ln of the number of columns when all scores are equal.
    """
    return functional.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.int64))


def invariant_spread(
    a: Float[Tensor, "batch dim"],
    b: Float[Tensor, "batch dim"],
    temperature: float,
    negatives: Literal["all", "hard", "easy"] = "all",
) -> Float[Tensor, ""]:
    """Classify each view as its partner, and no other as it (Ye et al. 2019, arXiv:1904.03436).

    With P(k|i) the softmax of view i over the 2N - 1 others and j its partner, the mean over i of
    -ln P(j|i) - sum of ln(1 - P(k|i)) over k other than j (section 3). The right-hand factor of
    each similarity is detached: row i moves view i and no other, where NT-Xent moves both.

    Args:
        a: Raw embeddings of the first views, shape [N, D].
        b: Raw embeddings of the second views, in the same order, shape [N, D].
        temperature: What similarities are divided by, above 0.
        negatives: All, or the half of them that is most or least similar to the anchor.

    Returns:
        Scalar in nats; `losses.nce.candidate_chance(2N - 2)` when all similarities are equal.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    views = torch.cat([a, b])
    scores = _scores(views, temperature, views.detach())  # [2N, 2N]
    partners = torch.arange(len(views), device=views.device).roll(len(a))[:, None]
    if negatives != "all":
        scores = _half(scores, partners, hardest=negatives == "hard")
    log_share = scores.log_softmax(dim=1)
    clamped = log_share.exp().clamp(max=1 - torch.finfo(log_share.dtype).eps)  # or ln 0
    repelled = torch.log1p(-clamped).scatter(1, partners, 0.0).sum(dim=1)
    return -(log_share.gather(1, partners).squeeze(1) + repelled).mean()


def _half(scores: Tensor, partners: Tensor, *, hardest: bool) -> Tensor:
    """Keep each row's partner and the more or less similar half of the rest; -inf elsewhere."""
    sign = 1 if hardest else -1
    is_self = scores == -torch.inf
    rest = (sign * scores).masked_fill(is_self, -torch.inf).scatter(1, partners, -torch.inf)
    kept = rest.topk(len(scores) // 2 - 1, dim=1).indices
    is_kept = torch.zeros_like(is_self).scatter(1, torch.cat([partners, kept], dim=1), True)
    return scores.where(is_kept, -torch.inf)


@torch.no_grad()
def nearest_top1(
    embeddings: Float[Tensor, "views dim"], labels: Int[Tensor, " views"]
) -> Float[Tensor, ""]:
    """Return the share of views whose nearest other view has their label; no gradient."""
    nearest = _scores(embeddings, temperature=1.0).argmax(dim=1)
    return (labels[nearest] == labels).to(torch.get_default_dtype()).mean()


def batch_info_nce(
    query: Float[Tensor, "batch dim"],
    keys: Float[Tensor, "all dim"],
    temperature: float,
    first: int = 0,
) -> Float[Tensor, ""]:
    """Tell each query's key from all others (Chen et al. 2021, arXiv:2104.02057, eq. 1).

    MoCo v3 multiplies this by 2 * temperature, so that the rate need not follow the temperature.

    Args:
        query: Raw embeddings, shape [B, D].
        keys: Raw embeddings of the keys of all processes, shape [W * B, D].
        temperature: What similarities are divided by, above 0.
        first: Where the keys of these queries begin: rank * B.

    Returns:
        Scalar mean in nats; ln(W * B) when all similarities are equal.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    own = torch.arange(first, first + len(query), device=query.device)
    return functional.cross_entropy(cosines(query, keys, temperature), own)


@torch.no_grad()
@torch.no_grad()
def own_key_top1(
    query: Float[Tensor, "batch dim"], keys: Float[Tensor, "all dim"], first: int = 0
) -> Float[Tensor, ""]:
    """Return the share of queries whose nearest key is their own; arguments as `batch_info_nce`."""
    own = torch.arange(first, first + len(query), device=query.device)
    found = cosines(query, keys).argmax(dim=1) == own
    return found.to(torch.get_default_dtype()).mean()


def _scores(embeddings: Tensor, temperature: float, others: Tensor | None = None) -> Tensor:
    """Return cosines over the temperature, -inf where an embedding meets itself.

    `others` are the same embeddings for the right-hand factor, such as detached ones.
    """
    scores = cosines(embeddings, embeddings if others is None else others, temperature)
    return scores.fill_diagonal_(-torch.inf)  # in place: a large batch's is large


def cosines(a: Tensor, b: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the cosine of every vector of a with every one of b, over a temperature, [N, M].

    Raises:
        ValueError: If `temperature` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    a, b = (functional.normalize(at_least_float32(vectors), dim=1) for vectors in (a, b))
    return inner_products(a / temperature, b)  # a has fewer numbers than the product
