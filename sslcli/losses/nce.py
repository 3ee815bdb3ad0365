"""Noise-contrastive estimation: tell data from draws of noise, one candidate at a time.

Everything is computed in logarithms and float32, as the exponential of a cosine over a temperature
of 0.07 reaches 1.6e6. The official code of InstDisc exponentiates and adds 1e-7 to denominators;
without that the loss differs by about 1e-7 n.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sslcli.losses.precision import at_least_float32


def instance_nce(
    positive: Float[Tensor, " batch"],
    negatives: Float[Tensor, "batch draws"],
    num_instances: int,
    normalizer: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Tell a sample's own instance from m drawn uniformly (Wu et al. 2018, section 3.2, eq. 7).

    arXiv:1805.01978. A score s means P = exp(s) / Z, to which the noise opposes m / n: a candidate
    is real with probability h = P / (P + m / n) (eq. 6). The loss is -ln h of the positive and
    -ln(1 - h) of each negative, summed over the m and averaged over the batch.

    Args:
        positive: Cosine to the sample's own instance over the temperature, shape [B].
        negatives: Cosines to the drawn instances over the temperature, shape [B, m]; a draw may
            repeat the own instance.
        num_instances: n, the number of instances that noise draws from.
        normalizer: Z, no gradient; see `estimated_normalizer`.

    Returns:
        Scalar in nats; `candidate_chance(m)` when P is 1 / n everywhere.

    Raises:
        ValueError: If there is no instance.
    """
    if num_instances < 1:
        raise ValueError(f"there must be instances, got {num_instances}")
    noise = math.log(negatives.shape[1] / num_instances) + at_least_float32(normalizer).log()
    own = functional.logsigmoid(at_least_float32(positive) - noise)  # [B]
    others = functional.logsigmoid(noise - at_least_float32(negatives)).sum(dim=1)
    return -(own + others).mean()


@torch.no_grad()
def estimated_normalizer(
    scores: Float[Tensor, "batch candidates"], num_instances: int
) -> Float[Tensor, ""]:
    """Estimate Z = sum_i exp(s_i) as n times the mean over candidates (Wu et al. 2018, eq. 8)."""
    return num_instances * at_least_float32(scores).exp().mean()


def candidate_chance(negatives: int) -> float:
    """Return the loss when each of m + 1 candidates is taken for the right one at 1 / (1 + m).

    ln(1 + m) for the positive and m ln((1 + m) / m) for the negatives, which is hardly more than 1.
    """
    if negatives == 0:
        return 0.0
    return math.log1p(negatives) + negatives * math.log1p(1 / negatives)
