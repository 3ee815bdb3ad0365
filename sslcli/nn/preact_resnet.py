"""Pre-activation residual networks of three stages, which CPC runs over patches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sslcli.config.architectures import Stage
from sslcli.nn.norm import NormName, norm2d


class PreActResNet(nn.Module):
    """A ResNet-v2 (He et al. 2016, arXiv:1603.05027) without its fourth stage, as CPC has it.

    Norm and ReLU come before each convolution. A block's shortcut is a 1x1 convolution where its
    size changes, behind the block's first ReLU and without a norm. There is no norm behind the last
    stage. Convolutions have a bias where there is no norm, and then only (RS, ResNetV2_Encoder.py).

    Args:
        stages: Blocks and widths; a bottleneck has three convolutions, another block two 3x3.
        width: Channels that a stage's widths are multiples of.
        norm: "batch", "layer" (over channels and places) or "none".
        stem: Side of the first convolution's kernel: 7 strides by 2 and is followed by norm, ReLU
            and a 3x3 max-pool of stride 2; others keep the size.
        stem_stride: Stride of another first convolution than that of side 7.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        width: int = 64,
        norm: NormName = "layer",
        stem: int = 7,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        self.stem = _stem(width, norm, stem, stem_stride)
        before = width
        for number, stage in enumerate(stages, 1):
            inner, outer, made = stage.inner * width, stage.outer * width, []
            for block in range(stage.blocks):
                stride = 2 if number > 1 and block == 0 else 1
                made.append(PreActBlock(before, inner, outer, stride, norm))
                before = outer
            self.add_module(f"layer{number}", nn.Sequential(*made))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.feature_dim = before

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to pooled features [B, feature_dim]."""
        x = self.stem(images)
        for stage in range(1, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return torch.flatten(self.avgpool(x), 1)


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, or a bottleneck, each behind norm and ReLU; and a shortcut."""

    def __init__(self, before: int, inner: int, after: int, stride: int, norm: NormName) -> None:
        super().__init__()
        sides = (3, 3) if inner == after else (1, 3, 1)
        strided = len(sides) - 2  # the first 3x3 convolution strides
        widths = [before, *[inner] * (len(sides) - 1), after]
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for place, side in enumerate(sides):
            step = stride if place == strided else 1
            self.norms.append(norm2d(norm, widths[place]))
            self.convs.append(_conv(widths[place], widths[place + 1], side, step, norm))
        self.shortcut: nn.Module | None = None
        if stride != 1 or before != after:
            self.shortcut = _conv(before, after, 1, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H / stride, W / stride]."""
        branch = self.norms[0](x).relu()
        kept = x if self.shortcut is None else self.shortcut(branch)
        for place, conv in enumerate(self.convs):
            branch = conv(branch if place == 0 else self.norms[place](branch).relu())
        return branch + kept


def _conv(before: int, after: int, side: int, stride: int, norm: NormName) -> nn.Conv2d:
    return nn.Conv2d(before, after, side, stride, side // 2, bias=norm == "none")


def _stem(width: int, norm: NormName, side: int, stride: int) -> nn.Sequential:
    if side != 7:
        return nn.Sequential(_conv(3, width, side, stride, norm))
    pool = nn.MaxPool2d(3, 2, 1)
    return nn.Sequential(_conv(3, width, 7, 2, norm), norm2d(norm, width), nn.ReLU(), pool)
