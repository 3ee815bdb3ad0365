"""Wide residual networks, with a norm or without (Zagoruyko & Komodakis 2016)."""

import torch
from torch import Tensor, nn

from sslcli.nn.activations import ACTIVATIONS
from sslcli.nn.norm import NormName, norm2d


class WideResNet(nn.Module):
    """Three stages of pre-activation blocks, `widening` times as wide as He et al.'s.

    arXiv:1605.07146 as JEM has it (Grathwohl et al. 2020, appendix A): convolutions have biases,
    a block strides in its second convolution, and its shortcut takes the block's raw input.
    Without a norm the density of one image does not depend on its batch.

    Args:
        depth: 6n + 4.
        widening: Factor of the widths 16, 32 and 64.
        norm: "batch", "layer", or "none" as JEM and HDGE have it.
        activation: A name of `nn.activations`.
        dropout: Between a block's two convolutions.
        bias: Whether convolutions have one; CPC's have where there is no norm (RS).
    """

    def __init__(
        self,
        depth: int,
        widening: int,
        *,
        norm: NormName = "batch",
        activation: str = "relu",
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        assert depth % 6 == 4
        assert depth >= 10
        blocks, widths = (depth - 4) // 6, [16 * widening, 32 * widening, 64 * widening]
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=bias)
        inputs = [16, *widths[:-1]]
        for stage, (before, after) in enumerate(zip(inputs, widths, strict=True), 1):
            made = [
                WideBlock(
                    before if block == 0 else after,
                    after,
                    2 if stage > 1 and block == 0 else 1,
                    norm=norm,
                    activation=activation,
                    dropout=dropout,
                    bias=bias,
                )
                for block in range(blocks)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*made))
        self.bn = norm2d(norm, widths[-1])
        self.activation = ACTIVATIONS[activation]()
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.feature_dim = widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to pooled features [B, feature_dim]."""
        x = self.conv1(images)
        for stage in range(1, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return torch.flatten(self.avgpool(self.activation(self.bn(x))), 1)


class WideBlock(nn.Module):
    """Norm, activation, 3x3 convolution, dropout, norm, activation, 3x3 convolution; shortcut."""

    def __init__(
        self,
        before: int,
        after: int,
        stride: int,
        *,
        norm: NormName,
        activation: str,
        dropout: float,
        bias: bool,
    ) -> None:
        super().__init__()
        self.bn1 = norm2d(norm, before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.bn2 = norm2d(norm, after)
        self.conv2 = nn.Conv2d(after, after, 3, stride=stride, padding=1, bias=bias)
        self.activation = ACTIVATIONS[activation]()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H / stride, W / stride]."""
        branch = self.dropout(self.conv1(self.activation(self.bn1(x))))
        return self.conv2(self.activation(self.bn2(branch))) + self.shortcut(x)
