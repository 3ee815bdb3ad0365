"""The spec's golden input, from which golden values were computed."""

import torch
from torch import Tensor


def golden(a: float) -> Tensor:
    """z(a)[i, j] = sin(a i + 1.3 j + 0.17 i j + 0.5), 4 by 6, float64."""
    i, j = torch.meshgrid(torch.arange(4.0).double(), torch.arange(6.0).double(), indexing="ij")
    return torch.sin(a * i + 1.3 * j + 0.17 * i * j + 0.5)
