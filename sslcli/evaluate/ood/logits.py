"""Scores of logits alone; every one rises towards the inside.

All are computed in float64. A float32 softmax of confident logits is 1 for many images at once, and
such ties would lower the AUROC without fault of the network.
"""

import torch
from jaxtyping import Float
from torch import Tensor

GEN_POWER, GEN_CLASSES = 0.1, 100


def msp(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Return the largest softmax probability (Hendrycks & Gimpel 2017, arXiv:1610.02136)."""
    return logits.double().softmax(dim=1).amax(dim=1)


def max_logit(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Return the largest logit (Hendrycks et al. 2022, arXiv:1911.11132)."""
    return logits.double().amax(dim=1)


def energy(logits: Float[Tensor, "n classes"], temperature: float = 1.0) -> Float[Tensor, " n"]:
    """Return T log sum exp(z / T), the negative free energy (Liu et al. 2020, arXiv:2010.03759).

    At T = 1 this is the log p(x), up to a constant, of a classifier read as an energy-based model.
    """
    return temperature * (logits.double() / temperature).logsumexp(dim=1)


def entropy(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Return the negative entropy of the softmax, in nats, from -ln C (uniform) to 0 (certain)."""
    log_probability = logits.double().log_softmax(dim=1)
    return (log_probability.exp() * log_probability).sum(dim=1)


def gen(
    logits: Float[Tensor, "n classes"], power: float = GEN_POWER, classes: int = GEN_CLASSES
) -> Float[Tensor, " n"]:
    """Return minus the sum of (p (1 - p)) ** power over the likeliest classes.

    Generalised entropy (Liu et al. 2023, CVPR, "GEN: Pushing the limits of softmax-based
    out-of-distribution detection").

    Args:
        logits: Of one image a row.
        power: Their gamma; small ones weigh the unlikely classes more.
        classes: Their M, how many of the likeliest classes count; all when there are fewer.
    """
    top = logits.double().topk(min(classes, logits.shape[1]), dim=1)
    rest = logits.double().logsumexp(dim=1, keepdim=True)
    log_p = top.values - rest  # [N, M]
    # 1 - p is exact where p is almost 1, as the plain difference is not.
    log_not_p = torch.log(-torch.expm1(log_p))
    return -(power * (log_p + log_not_p)).exp().sum(dim=1)
