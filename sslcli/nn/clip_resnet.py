"""CLIP's ResNets: a stem of three convolutions, smoothed strides, and a pool that attends.

Radford et al. 2021, arXiv:2103.00020, section 2.4. Tensors have the names of the official code.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_EXPANSION = 4
_SIDE = 32  # pixels of an image for one place of the last maps
_HEAD = 64  # channels of the last maps for each head of the pool


class Bottleneck(nn.Module):
    """Three convolutions; a stride is an average pool before the last one (Zhang 2019).

    Args:
        before: Channels that come in.
        planes: Channels within; four times as many come out.
        stride: 1 or 2.
    """

    def __init__(self, before: int, planes: int, stride: int) -> None:
        super().__init__()
        after = _EXPANSION * planes
        self.conv1 = nn.Conv2d(before, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool: nn.Module = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            self.downsample = nn.Sequential()
            self.downsample.add_module("-1", pool)
            self.downsample.add_module("0", nn.Conv2d(before, after, 1, bias=False))
            self.downsample.add_module("1", nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, 4 * planes, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.avgpool(self.relu(self.bn2(self.conv2(out))))
        mapped: Tensor = self.relu(self.bn3(self.conv3(out)) + self.downsample(x))
        return mapped


class AttentionPool(nn.Module):
    """Let the mean of a map attend to it and to itself (section 2.4).

    Args:
        side: Of the maps that the table of positions is for.
        width: Channels of the maps.
        heads: Divide them.
        outputs: Entries of the vector.
    """

    def __init__(self, side: int, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(side * side + 1, width) / width**0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, outputs)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, width, side, side] to [B, outputs]."""
        places = maps.flatten(2).transpose(1, 2)  # [B, N, D]
        places = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)
        places = places + self.positional_embedding
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, heads, n, D / heads]
            for layer, x in (
                (self.q_proj, places[:, :1]), (self.k_proj, places), (self.v_proj, places),
            )
        )  # fmt: skip
        mixed = functional.scaled_dot_product_attention(query, key, value)
        pooled: Tensor = self.c_proj(mixed.transpose(1, 2).flatten(1))
        return pooled

    def extra_repr(self) -> str:
        """Show the number of heads, which the shapes of weights do not tell."""
        return f"heads={self.heads}"


class CLIPResNet(nn.Module):
    """Map images of one size to the vectors of an attention pool, which projects them too.

    Args:
        layers: Blocks in each of the four stages.
        image_size: Side of the images, a multiple of 32.
        width: Channels of the first stage.
        outputs: Entries of the vector; None for half the channels of the last maps.
    """

    def __init__(
        self,
        layers: tuple[int, int, int, int],
        *,
        image_size: int,
        width: int = 64,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu, self.avgpool = nn.ReLU(inplace=True), nn.AvgPool2d(2)
        self.layer1 = _stage(width, width, layers[0], 1)
        self.layer2 = _stage(4 * width, 2 * width, layers[1], 2)
        self.layer3 = _stage(8 * width, 4 * width, layers[2], 2)
        self.layer4 = _stage(16 * width, 8 * width, layers[3], 2)
        last = _EXPANSION * 8 * width
        self.feature_dim = outputs or last // 2
        self.attnpool = AttentionPool(image_size // _SIDE, last, last // _HEAD, self.feature_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, S, S] to [B, feature_dim]."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.avgpool(self.relu(self.bn3(self.conv3(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        pooled: Tensor = self.attnpool(x)
        return pooled


def _stage(before: int, planes: int, count: int, stride: int) -> nn.Sequential:
    """Return blocks, the first with a stride; residual branches begin at zero (official code)."""
    blocks = [Bottleneck(before, planes, stride)]
    blocks += [Bottleneck(_EXPANSION * planes, planes, 1) for _ in range(count - 1)]
    for block in blocks:
        nn.init.zeros_(block.bn3.weight)
    return nn.Sequential(*blocks)
