"""Half of an AlexNet, CMC's network for some channels of an image.

Tian et al. 2020, arXiv:1906.05849; every width is that of HobbitLong/CMC: models/alexnet.py, half
of the whole network's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_HIDDEN, _SIDE = 2048, 6  # of the fully connected layers; of the last maps
_PROBED = {1: 10, 2: 6, 3: 5, 4: 5, 5: 6}  # side that CMC's probe brings each layer's maps to


class HalfAlexNet(nn.Module):
    """Five convolutions and two fully connected layers, all with BatchNorm and ReLU, and a Linear.

    Made for 224 pixels. The maps of another size are averaged to 6 by 6, as torchvision does.

    Args:
        channels: Of the images.
        dim: Entries of the output; None leaves the last Linear out, as what is kept.
    """

    def __init__(self, channels: int, dim: int | None = None) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([
            _block(nn.Conv2d(channels, 48, 11, stride=4, padding=2, bias=False), pools=True),
            _block(nn.Conv2d(48, 128, 5, padding=2, bias=False), pools=True),
            _block(nn.Conv2d(128, 192, 3, padding=1, bias=False)),
            _block(nn.Conv2d(192, 192, 3, padding=1, bias=False)),
            _block(nn.Conv2d(192, 128, 3, padding=1, bias=False), pools=True),
        ])  # fmt: skip
        self.widths = (48, 128, 192, 192, 128)
        connected = [_connected(128 * _SIDE**2, _HIDDEN), _connected(_HIDDEN, _HIDDEN)]
        self.connected = nn.Sequential(*connected)
        self.head = nn.Identity() if dim is None else nn.Linear(_HIDDEN, dim)
        self.feature_dim = dim or _HIDDEN

    def maps(self, images: Tensor, count: int = 5) -> Tensor:
        """Return the maps behind the first convolutions, [B, C, H, W]."""
        for block in self.convolutions[:count]:
            images = block(images)
        return images

    @property
    def layer_dims(self) -> dict[int, int]:
        """Entries of each convolution's features, from 4,608 to 4,800."""
        return {n: self.widths[n - 1] * side**2 for n, side in _PROBED.items()}

    def layer(self, images: Tensor, number: int) -> Tensor:
        """Return a convolution's maps, pooled by their maximum, [B, layer_dims[number]]."""
        maps = self.maps(images, number)
        return functional.adaptive_max_pool2d(maps, _PROBED[number]).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, channels, H, W] to [B, feature_dim], not normalised."""
        maps = functional.adaptive_avg_pool2d(self.maps(images), _SIDE)
        features: Tensor = self.head(self.connected(torch.flatten(maps, 1)))
        return features


def _block(convolution: nn.Conv2d, *, pools: bool = False) -> nn.Sequential:
    """Return a convolution with its norm, ReLU and, where maps shrink, 3x3 pooling of stride 2."""
    layers = [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *([nn.MaxPool2d(3, stride=2)] if pools else []))


def _connected(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(inplace=True))
