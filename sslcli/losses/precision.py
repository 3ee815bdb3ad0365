"""Casts that keep losses in float32 at least, whatever autocast made of their inputs."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Cast half precision to float32; float32 and float64 stay as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def inner_products(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b.T in float32 at least; autocast would round it to half precision.

    Args:
        a: Vectors, [N, D].
        b: Vectors, [M, D].

    Returns:
        [N, M]; cosines if the vectors have unit length.
    """
    with torch.autocast(a.device.type, enabled=False):
        return at_least_float32(a) @ at_least_float32(b).T
