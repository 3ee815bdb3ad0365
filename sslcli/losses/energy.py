"""Losses of energy-based models; f, the unnormalised log-density, is minus the energy.

Everything is computed in float32 at least. Densities come from a classifier's logits z as JEM reads
them: log p(x, y) = z_y and log p(x) = logsumexp(z), up to one constant.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.losses.precision import at_least_float32


def log_density(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Return log p(x) up to a constant (Grathwohl et al. 2020, arXiv:1912.03263, eq. 6).

    Args:
        logits: A classifier's, shape [B, C].

    Returns:
        logsumexp over the classes, in nats.
    """
    return at_least_float32(logits).logsumexp(dim=1)


def joint_log_density(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return log p(x, y) up to the same constant: the logit of each label (JEM, eq. 5).

    Args:
        logits: A classifier's, shape [B, C].
        labels: Class of each, shape [B].

    Returns:
        In nats; `log_density` minus the cross-entropy.
    """
    return at_least_float32(logits).gather(1, labels[:, None]).squeeze(1)


def contrastive_divergence(
    data: Float[Tensor, " batch"], samples: Float[Tensor, " chains"]
) -> Float[Tensor, ""]:
    """Return a loss with the gradient of the data's negative log-likelihood (JEM, eq. 2).

    Args:
        data: log p of data, up to a constant.
        samples: log p of samples from the model, which are detached images.

    Returns:
        Mean over samples minus mean over data, in nats; 0 when both have the same mean.
    """
    return at_least_float32(samples).mean() - at_least_float32(data).mean()


def energy_penalty(
    data: Float[Tensor, " batch"], samples: Float[Tensor, " chains"]
) -> Float[Tensor, ""]:
    """Return the mean square on data plus that on samples (Du & Mordatch 2019, section 3.3).

    Each sample is squared, not the batch's mean.

    Args:
        data: log p of data, up to a constant.
        samples: log p of samples.

    Returns:
        Scalar, at least 0.
    """
    return at_least_float32(data).square().mean() + at_least_float32(samples).square().mean()


def hdge(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    queue: Float[Tensor, "queue classes"],
    temperature: float,
    score: Literal["paper", "released"] = "paper",
    held: Int[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Tell an image from others by its own class's score (Liu & Abbeel 2020, arXiv:2007.09070).

    Logits are normalised over the classes. The score of an image for class y is entry y ("paper"),
    or log(exp(entry y) + C - 1), which is what the authors' code comes to when it sums over a
    one-hot mask ("released"): there the gradient is about C times smaller.

    Args:
        logits: Raw logits, shape [B, C].
        labels: Class of each, shape [B].
        queue: Raw logits of earlier images, shape [K, C], without gradient.
        temperature: What scores are divided by, above 0.
        score: The form of the score.
        held: How many rows of the queue, from the first on, are images; all if None.

    Returns:
        Scalar mean in nats; ln(K + 1) when all scores are equal.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    own, others = (functional.normalize(at_least_float32(z), dim=1) for z in (logits, queue))
    positive = own.gather(1, labels[:, None])  # [B, 1]
    negative = others.T.index_select(0, labels)  # [B, K]
    scores = torch.cat([positive, negative], dim=1)
    if score == "released":
        scores = (scores.exp() + (logits.shape[1] - 1)).log()
    scores = scores / temperature
    if held is not None:
        slots = torch.arange(scores.shape[1], device=scores.device)
        scores = scores.masked_fill(slots > held, -torch.inf)  # slot 0 is the positive
    return functional.cross_entropy(scores, torch.zeros_like(labels))
