"""AMDIM's encoders, whose local features see a window of the image and nothing else of it.

Bachman et al. 2019, arXiv:1906.00910, with the layers of the official code
(Philip-Bachman/amdim-public, model.py). Nothing is padded but the first layer for 128 pixels, and
blocks end in 1x1 convolutions, so windows stay small. The code also builds BatchNorms that it does
not use without `norm`; here there are none.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.architectures import AMDIM_WIDENING
from sslcli.errors import ConfigError

Scales = tuple[Tensor, Tensor, Tensor]  # r1 [B, R], r5 [B, R, 5, 5], r7 [B, R, 7, 7]


class Layer(NamedTuple):
    """Kernel and stride of a layer's first convolution, its width in units of `width`, its depth.

    A depth of None stands for the encoder's.
    """

    kernel: int
    stride: int
    widening: int
    depth: int | None = None


# What follows the stem up to the 7x7 map, by the side of the images; then come two layers of 3x3,
# to 5x5 and to 3x3, and the last one to 1x1.
BLOCKS = {
    32: (Layer(1, 1, 1, depth=1), Layer(4, 2, 2), Layer(2, 2, 4)),
    64: (Layer(4, 2, 2), Layer(4, 2, 4), Layer(2, 2, 8)),
    128: (Layer(4, 2, 2), Layer(4, 2, 4), Layer(2, 2, 8)),
}


class AMDIMEncoder(nn.Module):
    """Map images to one global feature and two grids of local ones.

    The maps of 7x7 and 5x5 places are taken behind the last layer of that size, and pass through a
    `LocalHead`; the global feature is the output itself, behind its BatchNorm.

    Args:
        image_size: Side of the images, 32, 64 or 128.
        width: Channels of the first layer (ndf in the code).
        dim: R, channels of all three outputs (n_rkhs); at least 4 times `width` for 32 pixels and
            8 times for others, since shortcuts can only add channels.
        depth: Convolution pairs in each block (n_depth).
        norm: Whether every pair, the hidden layer of each head and the 7x7 map have a BatchNorm
            (use_bn); the outputs always have one.

    Raises:
        ValueError: If there is no such network, with the numbers that there is one for.
    """

    def __init__(
        self, image_size: int, width: int, dim: int, depth: int, norm: bool = False
    ) -> None:
        super().__init__()
        if image_size not in BLOCKS:
            raise ValueError(f"AMDIM's networks are for 32, 64 or 128 pixels, not {image_size}")
        top = width * AMDIM_WIDENING[image_size]
        if dim < top:
            raise ValueError(f"dim must be at least {top} ({top // width} * width), not {dim}")
        self.image_size, self.dim = image_size, dim
        blocks = list(_blocks(BLOCKS[image_size], width, depth, norm))
        self.to_7 = nn.Sequential(*_stem(image_size, width), *blocks, *_norms(top, norm))
        self.to_5 = nn.Sequential(*_block(top, top, Layer(3, 1, 1), depth, norm))
        self.to_1 = nn.Sequential(
            *_block(top, top, Layer(3, 1, 1), depth, norm),
            Residual(top, dim, 3, 1, norm),
            nn.BatchNorm2d(dim),
        )
        self.head_5, self.head_7 = LocalHead(top, dim, norm), LocalHead(top, dim, norm)

    def forward(self, images: Tensor) -> Scales:
        """Map [B, 3, S, S] to r1 [B, R], r5 [B, R, 5, 5] and r7 [B, R, 7, 7]."""
        maps_7 = self.to_7(self._checked(images))
        maps_5 = self.to_5(maps_7)
        return self.to_1(maps_5).flatten(1), self.head_5(maps_5), self.head_7(maps_7)

    def global_feature(self, images: Tensor) -> Tensor:
        """Map [B, 3, S, S] to r1 alone, [B, R]."""
        feature: Tensor = self.to_1(self.to_5(self.to_7(self._checked(images))))
        return feature.flatten(1)

    def _checked(self, images: Tensor) -> Tensor:
        """Return the images; of another size the last map would not be a single place."""
        side = images.shape[-1]
        if tuple(images.shape[2:]) != (self.image_size, self.image_size):
            what = f"this network maps images of {self.image_size} pixels, not of {side}"
            hint = f"make views of {self.image_size}, or set data.image_size to 32, 64 or 128"
            raise ConfigError(what, "views.size", hint)
        return images


class GlobalFeature(nn.Module):
    """The kept encoder: its feature is r1, its maps are r7 and r5.

    The heads of the maps are frozen until a method that reads them says otherwise: a method that
    reads the feature alone would have no gradient for them.

    Args:
        network: The whole encoder.
    """

    def __init__(self, network: AMDIMEncoder) -> None:
        super().__init__()
        self.network = network
        self.feature_dim = network.dim
        for head in (network.head_5, network.head_7):
            head.requires_grad_(False)

    @property
    def channels(self) -> tuple[int, int]:
        """The channels of both maps."""
        return self.feature_dim, self.feature_dim

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return r7 [B, R, 7, 7] and r5 [B, R, 5, 5]."""
        _, maps_5, maps_7 = self.network(images)
        return [maps_7, maps_5]

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, S, S] to r1, [B, R]."""
        return self.network.global_feature(images)


class Residual(nn.Module):
    """Two convolutions beside an average pool: conv1x1(relu(conv(x))) + pool(x).

    No activation follows the sum and none precedes the first convolution. Channels that the block
    adds are zeros in the pool. The second convolution begins at zero, and so the block as its pool.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, kernel, stride, bias=False)  # torch's default draw
        self.norm: nn.Module = nn.BatchNorm2d(after) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 1, bias=False)
        nn.init.zeros_(self.conv2.weight)
        self.kernel, self.stride, self.new_channels = kernel, stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H', W']."""
        branch: Tensor = self.conv2(self.relu(self.norm(self.conv1(x))))
        return branch + self.shortcut(x)

    def shortcut(self, x: Tensor) -> Tensor:
        """Average what the kernel covers, and append channels of zeros."""
        pooled = functional.avg_pool2d(x, self.kernel, self.stride) if self.kernel > 1 else x
        if not self.new_channels:
            return pooled
        return functional.pad(pooled, (0, 0, 0, 0, 0, self.new_channels))


class LocalHead(nn.Module):
    """Map each place's channels to R by itself, beside nearly the identity, then BatchNorm.

    FakeRKHSConvNet of the code. The branch begins at zero, the shortcut's weights at 1 from each
    channel to its own and within 0.01 of 0 elsewhere.
    """

    def __init__(self, before: int, after: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(after) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 1, bias=False)
        self.shortcut = nn.Conv2d(before, after, 1)
        self.norm_out = nn.BatchNorm2d(after)
        nn.init.zeros_(self.conv2.weight)
        nn.init.uniform_(self.shortcut.weight, -0.01, 0.01)
        with torch.no_grad():
            self.shortcut.weight[:, :, 0, 0].fill_diagonal_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H, W]."""
        branch = self.conv2(self.relu(self.norm(self.conv1(x))))
        mapped: Tensor = self.norm_out(branch + self.shortcut(x))
        return mapped


def _stem(image_size: int, width: int) -> Iterator[nn.Module]:
    """Yield the first convolutions, with bias and ReLU; 128 pixels are halved to 64 first."""
    before = 3
    if image_size == 128:
        yield nn.Conv2d(3, width, 5, 2, padding=2, padding_mode="reflect")
        yield nn.ReLU(inplace=True)
        before = width
    yield nn.Conv2d(before, width, 3)
    yield nn.ReLU(inplace=True)


def _blocks(layers: tuple[Layer, ...], width: int, depth: int, norm: bool) -> Iterator[nn.Module]:
    before = width
    for layer in layers:
        yield from _block(before, width * layer.widening, layer, layer.depth or depth, norm)
        before = width * layer.widening


def _block(before: int, after: int, layer: Layer, depth: int, norm: bool) -> Iterator[nn.Module]:
    """Yield a pair of convolutions as the layer has them, then pairs of 1x1."""
    yield Residual(before, after, layer.kernel, layer.stride, norm)
    for _ in range(depth - 1):
        yield Residual(after, after, 1, 1, norm)


def _norms(channels: int, norm: bool) -> Iterator[nn.Module]:
    if norm:
        yield nn.BatchNorm2d(channels)
