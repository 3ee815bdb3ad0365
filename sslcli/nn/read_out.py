"""The features that an evaluation takes from an encoder: its output, or the maps of all layers."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.errors import ConfigError


@runtime_checkable
class HasMaps(Protocol):
    """An encoder that shows the maps of its layers."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of each layer, [B, C, H, W], for images [B, 3, H, W]."""


class QuadrantFeatures(nn.Module):
    """Pool each layer's maps over the four quadrants of the image, and join them.

    Dosovitskiy et al. 2014, arXiv:1406.6909, section 3.2.

    Args:
        network: Trained; used in evaluation.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, D], D four times the channels of all layers."""
        assert isinstance(self.network, HasMaps)
        pooled = [functional.adaptive_max_pool2d(maps, 2) for maps in self.network.maps(images)]
        return torch.cat([quadrants.flatten(1) for quadrants in pooled], dim=1)


def read_out(encoder: nn.Module, features: str) -> nn.Module:
    """Return what an evaluation runs: the encoder, or its layers pooled over quadrants.

    Raises:
        ConfigError: If the encoder does not show its layers.
    """
    if features == "output":
        return encoder
    if not isinstance(encoder, HasMaps):
        what = "only Exemplar-CNN's own networks are pooled over quadrants"
        raise ConfigError(what, "evaluation.features", 'set it to "output"')
    return QuadrantFeatures(encoder).train(encoder.training)
