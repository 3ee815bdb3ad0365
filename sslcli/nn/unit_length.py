"""Let an encoder give unit vectors, whoever calls it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class UnitLength(nn.Module):
    """Scale each feature vector to length 1, in float32 at least."""

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to unit vectors [B, D]."""
        dtype = torch.promote_types(features.dtype, torch.float32)
        return functional.normalize(features.to(dtype), dim=1)


def give_unit_vectors(encoder: nn.Module) -> nn.Module:
    """Put a `UnitLength` behind an encoder, in place: its class and its weights' names stay.

    It is a child, which `repr` and so the key of cached features show, and a hook calls it.
    """
    encoder.unit_length = UnitLength()
    encoder.register_forward_hook(_scale)
    return encoder


def _scale(encoder: Any, images: tuple[Tensor, ...], features: Tensor) -> Tensor:
    """Return what the copy at hand says: a deep copy carries this hook and a child of its own."""
    scaled: Tensor = encoder.unit_length(features)
    return scaled
