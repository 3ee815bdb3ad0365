"""The three networks of Exemplar-CNN, and the features its evaluation pools from all their layers.

Dosovitskiy et al. 2014, arXiv:1406.6909, section 3.1: 5x5 convolutions with ReLU, 2x2 max-pooling
behind the first two, then a fully connected layer with dropout. Convolutions keep the size of their
maps; the paper does not say.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.errors import ConfigError

PATCH = 32  # what the fully connected layer is made for, in pixels


class ExemplarNet(nn.Module):
    """Map images to the fully connected layer's output.

    That layer is a convolution as large as the maps of a patch, so that larger images pass as well;
    its maps are then averaged.

    Args:
        widths: Filters of each convolution, then of the fully connected layer.
        patch: Side of the images it is trained on, divisible by 4.
        dropout: Of the fully connected layer's output.
    """

    def __init__(self, widths: tuple[int, ...], patch: int = PATCH, dropout: float = 0.5) -> None:
        super().__init__()
        *filters, features = widths
        channels = (3, *filters)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 5, padding=2)
            for before, after in zip(channels, filters, strict=False)
        )
        self.connected = nn.Conv2d(filters[-1], features, patch // 4)
        self.dropout = nn.Dropout(dropout)
        self.feature_dim = features

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return every layer's maps after ReLU and pooling, [B, C, H, W] each."""
        maps, found = images, []
        for place, convolution in enumerate(self.convolutions):
            maps = functional.relu(convolution(maps))
            if place < 2:
                maps = functional.max_pool2d(maps, 2)
            found.append(maps)
        return [*found, functional.relu(self.connected(maps))]

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, feature_dim]."""
        features: Tensor = self.dropout(self.maps(images)[-1]).mean(dim=(2, 3))
        return features


class QuadrantFeatures(nn.Module):
    """Pool each layer's maps over the four quadrants of the image, and join them (section 3.2).

    Args:
        network: Trained; used in evaluation.
    """

    def __init__(self, network: ExemplarNet) -> None:
        super().__init__()
        self.network = network
        layers = [*network.convolutions, network.connected]
        self.feature_dim = 4 * sum(layer.out_channels for layer in layers)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, feature_dim]."""
        pooled = [functional.adaptive_max_pool2d(maps, 2) for maps in self.network.maps(images)]
        return torch.cat([quadrants.flatten(1) for quadrants in pooled], dim=1)


def read_out(encoder: nn.Module, features: str) -> nn.Module:
    """Return what an evaluation runs: the encoder, or its layers pooled over quadrants.

    Raises:
        ConfigError: If the encoder is not one whose layers can be pooled.
    """
    if features == "output":
        return encoder
    if not isinstance(encoder, ExemplarNet):
        what = "only Exemplar-CNN's own networks are pooled over quadrants"
        raise ConfigError(what, "evaluation.features", 'set it to "output"')
    return QuadrantFeatures(encoder).train(encoder.training)
