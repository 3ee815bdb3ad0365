"""Contrast with the keys of the same batch, such as MoCo v3's."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sslcli.losses.precision import full, inner_products


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
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    own = torch.arange(first, first + len(query), device=query.device)
    return functional.cross_entropy(_cosines(query, keys) / temperature, own)


@torch.no_grad()
def own_key_top1(
    query: Float[Tensor, "batch dim"], keys: Float[Tensor, "all dim"], first: int = 0
) -> Float[Tensor, ""]:
    """Return how often the nearest key is a query's own; arguments as of `batch_info_nce`."""
    own = torch.arange(first, first + len(query), device=query.device)
    found = _cosines(query, keys).argmax(dim=1) == own
    return found.to(torch.get_default_dtype()).mean()


def _cosines(query: Tensor, keys: Tensor) -> Tensor:
    return inner_products(*(functional.normalize(full(each), dim=1) for each in (query, keys)))
