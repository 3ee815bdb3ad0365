"""Cluster assignments by optimal transport, and the prediction of one view's from another's.

Both work in float32 at least: exp(1 / 0.05) = 4.9e8 does not fit half precision (swav issue 67).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sslcli.losses.precision import at_least_float32


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "samples prototypes"], epsilon: float, iterations: int
) -> Float[Tensor, "samples prototypes"]:
    """Assign samples to prototypes so that all prototypes get equally many (section 3.1, eq. 3).

    Sinkhorn-Knopp iterations on exp(scores / epsilon): divide by each prototype's sum, then by each
    sample's. Samples add up to 1 exactly, prototypes to N / K in the limit. Pass the samples of all
    processes (`distributed.collective.gather`).

    Args:
        scores: Cosines of embeddings and prototypes, [N, K]; -inf everywhere for a sample to leave
            out, whose row is 0.
        epsilon: Entropy weight, above 0; smaller is sharper.
        iterations: Rounds, at least 1.

    Returns:
        Soft assignments, [N, K], without gradient.

    Raises:
        ValueError: If `epsilon` or `iterations` is too small.
    """
    if not epsilon > 0 or iterations < 1:
        raise ValueError(f"epsilon {epsilon} and {iterations} iterations must be positive")
    scores = at_least_float32(scores) / epsilon
    shares = (scores - scores.amax()).exp()  # a common factor cancels
    tiny = torch.finfo(shares.dtype).tiny
    for _ in range(iterations):
        shares = shares / shares.sum(dim=0, keepdim=True).clamp(min=tiny)
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=tiny)
    return shares


def swapped_prediction(
    scores: Sequence[Float[Tensor, "batch prototypes"]],
    assignments: Sequence[Float[Tensor, "batch prototypes"]],
    temperature: float,
) -> Float[Tensor, ""]:
    """Predict each assigned view's clusters from every other view (section 3.1 and 3.2, eq. 2).

    Args:
        scores: Cosines of each view's embeddings and the prototypes, [B, K] each.
        assignments: Of the first views, [B, K] each, without gradient.
        temperature: What scores are divided by, above 0.

    Returns:
        Scalar in nats, the mean over assigned views and their partners; ln K for equal scores.

    Raises:
        ValueError: If `temperature` is not positive, or there is no other view.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    if len(scores) < 2:
        raise ValueError("a prediction from another view needs two views")
    logs = [(at_least_float32(score) / temperature).log_softmax(dim=1) for score in scores]
    terms = [
        -(assignment * log).sum(dim=1).mean()
        for own, assignment in enumerate(assignments)
        for other, log in enumerate(logs)
        if other != own
    ]
    return torch.stack(terms).mean()
