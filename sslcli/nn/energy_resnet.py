"""The residual networks of IGEBM, with per-class gains and biases (Du & Mordatch 2019).

They have two forms: that of rosinality/igebm-pytorch (model.py), here, and the authors' own
(openai/ebm_code_release, models.py, `ResNet32` and `ResNet32Large`), in `openai_energy`.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.errors import ConfigError
from sslcli.nn.activations import ACTIVATIONS
from sslcli.nn.openai_energy import InputAffine, OpenAIBlock, Shape
from sslcli.nn.spectral import SpectralConv2d

Stage = tuple[int, int]  # blocks, and the factor of the network's width


class EnergyResNet(nn.Module):
    """Spectrally normalised residual blocks, summed over the map (arXiv:1903.08689, appendix A.8).

    The first block of each stage halves the map by average pooling.

    Args:
        stages: Blocks and width factor of each stage.
        width: Channels of the first convolution.
        activation: A name of `nn.activations`; leaky-relu in the paper, SiLU in later work.
        dropout: After a block's first activation.
        conv_bias: Whether blocks have biases of their own, and in OpenAI's form a gain; off where
            each class has its own.
        form: "rosinality" or "openai".
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        width: int = 128,
        activation: str = "leaky-relu",
        dropout: float = 0.0,
        conv_bias: bool = True,
        form: str = "rosinality",
    ) -> None:
        super().__init__()
        self.is_openai = form == "openai"
        self.conv1 = SpectralConv2d(3, width, 3, bias=not self.is_openai)
        self.activation = ACTIVATIONS[activation]()
        block = OpenAIBlock if self.is_openai else EnergyBlock
        blocks: list[nn.Module] = []
        before = width
        for count, factor in stages:
            for index in range(count):
                blocks.append(
                    block(
                        before,
                        width * factor,
                        halve=index == 0,
                        activation=activation,
                        dropout=dropout,
                        bias=conv_bias,
                    )
                )
                before = width * factor
        self.blocks = nn.ModuleList(blocks)
        self.feature_dim = before

    @property
    def block_widths(self) -> list[int]:
        """Channels of each block, which a `ClassAffine` scales and shifts twice."""
        return [after for _, after in self._shapes]

    @property
    def _shapes(self) -> list[Shape]:
        convolutions = [cast(EnergyBlock, block).conv1 for block in self.blocks]
        return [(one.in_channels, one.out_channels) for one in convolutions]

    def class_affine(self, num_classes: int) -> nn.Module:
        """Return biases and gains for each class, which map labels [B] to what `forward` takes.

        Raises:
            ConfigError: If blocks have their own in OpenAI's form, where a class's replace them.
        """
        if not self.is_openai:
            return ClassAffine(num_classes, self.block_widths)
        if any(cast(OpenAIBlock, block).own is not None for block in self.blocks):
            what = "blocks have biases and gains of their own, and so has each class"
            raise ConfigError(what, "encoder.conv_bias", "set it to false")
        return InputAffine(num_classes, self._shapes)

    def energy_head(self) -> nn.Linear:
        """Return a map of the features to an energy; OpenAI's starts as Xavier's with no bias."""
        head = nn.Linear(self.feature_dim, 1)
        if self.is_openai:
            nn.init.xavier_uniform_(head.weight)
            nn.init.zeros_(head.bias)
        return head

    def forward(self, images: Tensor, affine: Sequence[Tensor] | None = None) -> Tensor:
        """Map images [B, 3, H, W] to summed features [B, feature_dim].

        Args:
            images: In [0, 1].
            affine: What `class_affine` returns for the images' labels, one tensor a block; blocks
                use their own without, if they have them.
        """
        x = self.activation(self.conv1(images))
        for index, block in enumerate(self.blocks):
            x = block(x, None if affine is None else affine[index])
        # A sum over the map, unlike a mean, is soon beyond what half precision resolves.
        return functional.relu(x).sum(dim=(2, 3), dtype=torch.promote_types(x.dtype, torch.float32))


class EnergyBlock(nn.Module):
    """Convolution, activation, convolution beside a shortcut; then pool and activate."""

    def __init__(
        self, before: int, after: int, *, halve: bool, activation: str, dropout: float, bias: bool
    ) -> None:
        super().__init__()
        self.conv1 = SpectralConv2d(before, after, 3, bias=bias)
        self.conv2 = SpectralConv2d(after, after, 3, bias=bias, growing=True)
        self.dropout = nn.Dropout(dropout)
        self.activation = ACTIVATIONS[activation]()
        self.shortcut: nn.Module = nn.Identity()
        if halve or before != after:
            self.shortcut = SpectralConv2d(before, after, 1, bias=False)
        self.pool: nn.Module = nn.AvgPool2d(2) if halve else nn.Identity()

    def forward(self, x: Tensor, affine: Tensor | None) -> Tensor:
        """Map [B, before, H, W] to [B, after, H, W], or half of H and W."""
        branch = self.dropout(self.activation(_apply(self.conv1(x), affine, 0)))
        branch = _apply(self.conv2(branch), affine, 1)
        return self.activation(self.pool(branch + self.shortcut(x)))


def _apply(x: Tensor, affine: Tensor | None, which: int) -> Tensor:
    if affine is None:
        return x
    gain, bias = affine[:, which], affine[:, 2 + which]  # [B, channels]
    return gain[:, :, None, None] * x + bias[:, :, None, None]


class ClassAffine(nn.Module):
    """Two gains and two biases a block and class, at one and zero.

    Args:
        num_classes: Rows.
        widths: Channels of each block.
    """

    def __init__(self, num_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        start = torch.tensor([1.0, 1.0, 0.0, 0.0])[None, :, None]
        self.tables = nn.ParameterList(
            nn.Parameter(start.repeat(num_classes, 1, width)) for width in widths
        )

    def forward(self, labels: Tensor) -> list[Tensor]:
        """Return each block's [B, 4, channels] for labels [B]."""
        return [table[labels] for table in self.tables]
