"""The three networks of Exemplar-CNN.

Dosovitskiy et al. 2014, arXiv:1406.6909, section 3.1: 5x5 convolutions with ReLU, 2x2 max-pooling
behind the first two, then a fully connected layer with dropout. Convolutions keep the size of their
maps; the paper does not say.
"""

from torch import Tensor, nn
from torch.nn import functional

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

    @property
    def channels(self) -> list[int]:
        """The channels of every layer's maps."""
        layers = [*self.convolutions, self.connected]
        return [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]

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
