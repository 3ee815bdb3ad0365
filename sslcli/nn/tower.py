"""The towers of a method with two: an encoder with its projection, and both side by side."""

from typing import Any

import torch
from torch import Tensor, nn


class Tower(nn.Module):
    """An encoder and the projection to the space in which it meets another one.

    Args:
        encoder: Of images or of texts.
        projection: Maps its features to the space of both.
    """

    def __init__(self, encoder: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection
        is_linear = isinstance(projection, nn.Linear)
        network: Any = projection if is_linear else encoder
        self.feature_dim: int = network.out_features if is_linear else network.feature_dim

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map images [B, 3, H, W], or the ids and mask of texts, to [B, feature_dim]."""
        features = self.encoder(inputs) if mask is None else self.encoder(inputs, mask)
        projected: Tensor = self.projection(features)
        return projected


class BothTowers(nn.Module):
    """The vectors of images and of as many texts, side by side.

    Args:
        encoder: Of images.
        image_projection: Behind it.
        text_encoder: Of texts.
        text_projection: Behind it.
    """

    def __init__(
        self,
        encoder: nn.Module,
        image_projection: nn.Module,
        text_encoder: nn.Module,
        text_projection: nn.Module,
    ) -> None:
        super().__init__()
        self.encoder, self.image_projection = encoder, image_projection
        self.text_encoder, self.text_projection = text_encoder, text_projection

    def forward(self, images: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Map [B, 3, S, S] and [B, L] twice to [B, 2 * dim]."""
        seen = self.image_projection(self.encoder(images))
        read = self.text_projection(self.text_encoder(ids, mask))
        return torch.cat([seen, read], dim=1)
