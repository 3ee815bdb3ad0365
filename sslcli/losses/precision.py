"""Losses are computed in float32 at least, whatever autocast made of their inputs."""

import torch
from torch import Tensor


def full(tensor: Tensor) -> Tensor:
    """Leave half precision behind; float32 and float64 stay what they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
