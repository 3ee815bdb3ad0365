"""Residual networks with torchvision's blocks and names, an ImageNet or CIFAR stem, any width."""

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from sslcli.config.architectures import Architecture

Stem = tuple[nn.Conv2d, nn.Module]


def imagenet_stem(width: int, channels: int = 3) -> Stem:
    """Return the 7x7 convolution and the 3x3 max-pool, each of stride 2."""
    pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    return nn.Conv2d(channels, width, kernel_size=7, stride=2, padding=3, bias=False), pool


def cifar_stem(width: int, stride: int, padding: int, channels: int = 3) -> Stem:
    """Return a 3x3 convolution and no pool (SimCLR, arXiv:2002.05709, appendix B.9)."""
    convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=padding, bias=False)
    return convolution, nn.Identity()


def init_convolutions_(network: nn.Module) -> None:
    """Draw convolutions for ReLU, by fan-out (He et al. 2015, arXiv:1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ResNet(nn.Module):
    """A torchvision ResNet without its classifier (He et al. 2016, arXiv:1512.03385).

    The state dict has torchvision's names and, at width 64, its shapes. A width of 128 or 256 on
    resnet50 gives SimCLR's ResNet-50 (2x) and (4x); CMC's keep a stem of 64 at every width
    (HobbitLong/CMC: models/resnet.py).

    Args:
        architecture: Blocks and their kind.
        stem: The first convolution and pool, from `imagenet_stem` or `cifar_stem`.
        width: Channels of the first stage; None for the stem's.
        zero_init_residual: Let every residual branch begin at zero (Goyal et al. 2017).
    """

    def __init__(
        self,
        architecture: Architecture,
        stem: Stem,
        *,
        width: int | None = None,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        self.conv1, self.maxpool = stem
        before = self.conv1.out_channels
        width = width or before
        self.bn1 = nn.BatchNorm2d(before)
        self.relu = nn.ReLU(inplace=True)
        expansion = 4 if architecture.bottleneck else 1
        self.layer1 = _stage(architecture, 0, before, width)
        self.layer2 = _stage(architecture, 1, width * expansion, width * 2)
        self.layer3 = _stage(architecture, 2, width * expansion * 2, width * 4)
        self.layer4 = _stage(architecture, 3, width * expansion * 4, width * 8)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Identity()
        self.feature_dim = width * expansion * 8
        init_convolutions_(self)
        if zero_init_residual:
            _zero_last_norms_(self)

    @property
    def layer_dims(self) -> dict[int, int]:
        """Entries of what CMC probes: the pooled maps are its layer 6."""
        return {6: self.feature_dim}

    def layer(self, images: Tensor, number: int) -> Tensor:
        """Return the features of a layer of `layer_dims`, [B, D]."""
        features: Tensor = self(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] to pooled features [B, feature_dim]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _stage(architecture: Architecture, stage: int, before: int, planes: int) -> nn.Sequential:
    """Return one stage; its first block strides by 2, except in the first stage."""
    block = Bottleneck if architecture.bottleneck else BasicBlock
    shape = {"groups": architecture.groups, "base_width": architecture.base_width}
    stride = 1 if stage == 0 else 2
    after = planes * block.expansion
    shortcut = None
    if stride != 1 or before != after:
        convolution = nn.Conv2d(before, after, kernel_size=1, stride=stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(after))
    first = block(before, planes, stride, shortcut, **shape)
    rest = [block(after, planes, **shape) for _ in range(architecture.layers[stage] - 1)]
    return nn.Sequential(first, *rest)


def _zero_last_norms_(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, BasicBlock | Bottleneck):
            last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
            nn.init.zeros_(last.weight)
