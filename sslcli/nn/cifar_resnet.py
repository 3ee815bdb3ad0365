"""The residual networks for CIFAR of He et al. 2016 (arXiv:1512.03385, section 4.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.nn.resnet import cifar_stem, init_convolutions_


class CifarResNet(nn.Module):
    """A stem and three stages of n blocks: 6n + 2 layers, counting the missing classifier.

    Shortcuts have no parameters (option A, as the paper has on CIFAR).

    Args:
        depth: 6n + 2; the paper has 20, 32, 44, 56, 110 and 1202.
        width: Channels of the first stage, 16 in the paper; doubled in each later stage.
        channels: Of the images.
        stem_stride: 1 in the paper; 2 quarters the work of every layer.
        stem_padding: 1 in the paper.
        zero_init_residual: Let every residual branch begin at zero (Goyal et al. 2017).
    """

    def __init__(
        self,
        depth: int,
        *,
        width: int = 16,
        channels: int = 3,
        stem_stride: int = 1,
        stem_padding: int = 1,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        assert depth % 6 == 2
        assert depth >= 8
        blocks = (depth - 2) // 6
        self.conv1, _ = cifar_stem(width, stem_stride, stem_padding, channels)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(blocks, width, width, stride=1)
        self.layer2 = _stage(blocks, width, width * 2, stride=2)
        self.layer3 = _stage(blocks, width * 2, width * 4, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.feature_dim = width * 4
        init_convolutions_(self)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, Block):
                    nn.init.zeros_(module.bn2.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to pooled features [B, feature_dim]."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return torch.flatten(self.avgpool(x), 1)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.new_channels = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H / stride, W / stride]."""
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        branch += self.shortcut(x)  # in place: BatchNorm does not keep its output for backward
        return self.relu(branch)

    def shortcut(self, x: Tensor) -> Tensor:
        """Subsample and append channels of zeros where the block changes the shape."""
        if self.stride == 1 and self.new_channels == 0:
            return x
        kept = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, 0, self.new_channels))


def _stage(blocks: int, before: int, after: int, *, stride: int) -> nn.Sequential:
    first = Block(before, after, stride)
    return nn.Sequential(first, *(Block(after, after, 1) for _ in range(blocks - 1)))
