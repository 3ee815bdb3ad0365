"""ReAct and ASH: the energy after penultimate activations are clipped, or pruned."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def clipping_threshold(features: Float[Tensor, "n dim"], percentile: float) -> float:
    """Return the percentile of all activations of all images together."""
    return float(np.percentile(features.numpy(), percentile))  # torch.quantile stops at 2^24


def clip_activations(features: Float[Tensor, "n dim"], threshold: float) -> Float[Tensor, "n dim"]:
    """Cut every activation at a threshold (ReAct, Sun et al. 2021, arXiv:2111.12797, eq. 1)."""
    return features.clamp(max=threshold)


def prune_activations(
    features: Float[Tensor, "n dim"], percentile: float
) -> Float[Tensor, "n dim"]:
    """Keep the largest activations of each image and set the others to 0.

    ASH-P of Djurisic et al. 2023 (arXiv:2209.09858), the form that neither scales nor levels what
    it keeps, so that features of any sign stay in the classifier's range.

    Args:
        features: Of one image a row.
        percentile: Share of the activations, in percent, that is removed; one at least is kept.
    """
    kept = max(1, features.shape[1] - round(features.shape[1] * percentile / 100))
    top = features.topk(kept, dim=1)
    return torch.zeros_like(features).scatter_(1, top.indices, top.values)
