"""Alignment and uniformity of unit embeddings (Wang & Isola 2020, arXiv:2005.10242)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sslcli.nn.spread import effective_rank

__all__ = ["alignment", "effective_rank", "uniformity"]


def alignment(
    a: Float[Tensor, "batch dim"], b: Float[Tensor, "batch dim"], alpha: int | float = 2
) -> Float[Tensor, ""]:
    """Return the mean distance between the two views of a sample, to the power `alpha`.

    0 when all pairs coincide, 2 when they are orthogonal, at most 4 (for `alpha` 2).

    Args:
        a: Embeddings of one view, normalised inside.
        b: Embeddings of the other view, in the same order.
        alpha: Power of the Euclidean distance, positive.
    """
    if alpha <= 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    distance: Tensor = torch.linalg.vector_norm(_unit(a) - _unit(b), dim=1)  # [B]
    return distance.pow(alpha).mean()


def uniformity(
    x: Float[Tensor, "batch dim"], t: int | float = 2, *, max_samples: int = 4096, seed: int = 0
) -> Float[Tensor, ""]:
    """Return the log of the mean Gaussian potential over pairs i < j.

    0 when all points coincide, about -2t when they are uniform on a high-dimensional sphere,
    never below -4t. Two antipodal points give -4t.

    Args:
        x: Embeddings of one view, normalised inside.
        t: Sharpness of the potential, positive.
        max_samples: Most samples used, since pairs grow with the square; of more, so many are drawn
            without replacement.
        seed: Seed of that draw.
    """
    if t <= 0:
        raise ValueError(f"t must be positive, got {t}")
    if len(x) < 2:
        raise ValueError(f"uniformity needs at least two samples, got {len(x)}")
    if len(x) > max_samples:
        generator = torch.Generator().manual_seed(seed)
        x = x[torch.randperm(len(x), generator=generator)[:max_samples].to(x.device)]
    unit = _unit(x)
    exponents = 2 * t * (unit @ unit.T - 1)  # [B, B]; |u - v|^2 = 2 - 2 u.v for unit vectors
    exponents = exponents.clamp(max=0).fill_diagonal_(-torch.inf)
    return exponents.flatten().logsumexp(dim=0) - math.log(len(x) * (len(x) - 1))


def _unit(x: Tensor) -> Tensor:
    return functional.normalize(x.float(), dim=1)
