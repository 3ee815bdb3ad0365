"""The blocks of IGEBM's networks as their authors' code has them (openai/ebm_code_release)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sslcli.nn.activations import ACTIVATIONS
from sslcli.nn.spectral import SpectralConv2d

Shape = tuple[int, int]  # channels before and after a block


class OpenAIBlock(nn.Module):
    """Bias, convolution, activation, bias, convolution and gain beside a shortcut; pool, activate.

    As utils.py has it (`smart_res_block`, `conv_block`): biases are added to the inputs of both
    convolutions, which have none of their own, the second alone has a gain, and only a block that
    widens has a convolution as its shortcut, of 3x3. Biases and gain are each class's where
    `affine` is given, else the block's own if it has them.
    """

    def __init__(
        self, before: int, after: int, *, halve: bool, activation: str, dropout: float, bias: bool
    ) -> None:
        super().__init__()
        self.conv1 = SpectralConv2d(before, after, 3, bias=False)
        self.conv2 = CappedConv2d(after, after, 3, bias=False, growing=True)
        self.own = nn.Parameter(fresh_affine(before, after)) if bias else None
        self.dropout = nn.Dropout(dropout)
        self.activation = ACTIVATIONS[activation]()
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            self.shortcut = SpectralConv2d(before, after, 3, bias=False)
        self.pool: nn.Module = nn.AvgPool2d(2) if halve else nn.Identity()

    def forward(self, x: Tensor, affine: Tensor | None) -> Tensor:
        """Map [B, before, H, W] to [B, after, H, W], or half of H and W."""
        affine = self.own if affine is None else affine
        if affine is None:
            branch = self.conv2(self.activation(self.dropout(self.conv1(x))))
        else:
            after = self.conv2.out_channels
            sizes = [self.conv1.in_channels, after, after]
            first, second, gain = affine[..., None, None].split(sizes, dim=-3)
            branch = self.activation(self.dropout(self.conv1(x + first)))
            branch = gain * self.conv2(branch + second)
        return self.activation(self.pool(branch + self.shortcut(x)))


class CappedConv2d(SpectralConv2d):
    """A convolution whose weight is left alone until its norm s is 1: W / s * min(s, 1).

    s is the norm and 1e-6 (utils.py, `spectral_normed_weight` with a lower bound).
    """

    def grown(self, sigma: Tensor) -> Tensor:
        """Return the factor of the weight for its norm."""
        shifted = sigma + 1e-6
        return shifted.clamp(max=1) / shifted


class InputAffine(nn.Module):
    """The biases and the gain of each block for each class, and a part of the gain that all share.

    Args:
        num_classes: Rows.
        shapes: Channels before and after each block.
    """

    def __init__(self, num_classes: int, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.tables = nn.ParameterList(
            nn.Parameter(fresh_affine(*shape).repeat(num_classes, 1)) for shape in shapes
        )
        self.shared = nn.ParameterList(nn.Parameter(torch.zeros(after)) for _, after in shapes)

    def forward(self, labels: Tensor) -> list[Tensor]:
        """Return each block's [B, before + 2 * after] for labels [B]."""
        affine = []
        for table, shared in zip(self.tables, self.shared, strict=True):
            rest = table.shape[1] - len(shared)
            bias, gain = table[labels].split([rest, len(shared)], dim=1)
            affine.append(torch.cat([bias, gain + shared], dim=1))
        return affine


def fresh_affine(before: int, after: int) -> Tensor:
    """Return the biases of both inputs, at 0, and the gain, at 1, [before + 2 * after]."""
    return torch.cat([torch.zeros(before + after), torch.ones(after)])
