"""The context networks of CPC, which summarise a grid of features from the top row down.

No output depends on a row below its own; columns are seen on both sides, since the task predicts
downwards.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

_GATED_LAYERS = 4  # PixelCNN_Autoregressor.py of Greedy InfoMax and RS


class PixelContext(nn.Module):
    """Residual branches of masked convolutions, and a ReLU (CPC v2, arXiv:1905.09272, appendix).

    A branch is 1x1, ReLU, 1x3, 2x1 below a row of padding on top, ReLU, 1x1. The paper's
    pseudocode does not say how its 1x3 pads; "paper" keeps the width there, with zeros.

    Args:
        dim: Channels of the grid.
        hidden: Channels within a branch.
        blocks: Branches; the output sees as many rows above its own.
        form: "paper", or "bolts" as lightning-bolts' pixel_cnn.py has it: ones on top, and the
            width padded by the 2x1 alone, so that the outer columns see biases only.
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 256,
        blocks: int = 5,
        form: Literal["paper", "bolts"] = "paper",
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_Branch(dim, hidden, form == "bolts") for _ in range(blocks))

    def forward(self, grid: Tensor) -> Tensor:
        """Map a grid [B, dim, H, W] to its context of the same shape."""
        for branch in self.branches:
            grid = grid + branch(grid)
        return functional.relu(grid)


class _Branch(nn.Module):
    def __init__(self, dim: int, hidden: int, as_bolts: bool) -> None:
        super().__init__()
        self.on_top = float(as_bolts)  # what the row above the first holds
        self.inward = nn.Conv2d(dim, hidden, 1)
        self.across = nn.Conv2d(hidden, hidden, (1, 3), padding=(0, 0 if as_bolts else 1))
        self.down = nn.Conv2d(hidden, hidden, (2, 1), padding=(0, 1 if as_bolts else 0))
        self.outward = nn.Conv2d(hidden, dim, 1)

    def forward(self, grid: Tensor) -> Tensor:
        across = self.across(self.inward(grid).relu())
        below = functional.pad(across, (0, 0, 1, 0), value=self.on_top)
        found: Tensor = self.outward(self.down(below).relu())
        return found


class GatedContext(nn.Module):
    """A gated PixelCNN of four layers without blind spot, then 1x1 (CPC v1).

    As Greedy InfoMax and RS have it (PixelCNN.py, mask "only_vert"): a vertical stack of 3x3
    convolutions that sees the own row and those above, and feeds a horizontal one of 1x3 by 1x1.
    Both have a residual connection from the second layer on. The rows that a mask would make zero
    are not stored here; weights are drawn as if they were there.

    Args:
        dim: Channels of the grid.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _GatedLayer(dim, is_first=layer == 0, is_last=layer == _GATED_LAYERS - 1)
            for layer in range(_GATED_LAYERS)
        )
        self.outward = nn.Conv2d(dim, dim, 1)

    def forward(self, grid: Tensor) -> Tensor:
        """Map a grid [B, dim, H, W] to its context of the same shape."""
        vertical = horizontal = grid
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        found: Tensor = self.outward(horizontal)
        return found


class _GatedLayer(nn.Module):
    def __init__(self, dim: int, *, is_first: bool, is_last: bool) -> None:
        super().__init__()
        self.is_first, self.is_last = is_first, is_last
        self.vertical = nn.Conv2d(dim, 2 * dim, (2, 3), padding=(0, 1))
        bound = (9 * dim) ** -0.5  # torch's draw for the whole 3x3 kernel
        assert self.vertical.bias is not None
        for drawn in (self.vertical.weight, self.vertical.bias):
            nn.init.uniform_(drawn, -bound, bound)
        self.horizontal = nn.Conv2d(dim, 2 * dim, (1, 3), padding=(0, 1))
        self.between = nn.Conv2d(2 * dim, 2 * dim, 1)
        self.outward = nn.Conv2d(dim, dim, 1)
        if not (is_first or is_last):  # nothing reads what the last layer's would lead to
            self.residual = nn.Conv2d(dim, 2 * dim, 1)

    def forward(self, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        below = self.vertical(functional.pad(vertical, (0, 0, 1, 0)))
        found = self.outward(_gate(self.horizontal(horizontal) + self.between(below)))
        if self.is_first:
            return _gate(below), found
        if not self.is_last:
            vertical = _gate(below + self.residual(vertical))
        return vertical, horizontal + found


def _gate(features: Tensor) -> Tensor:
    """Let one half of the channels through as far as the other half opens."""
    passed, gate = features.chunk(2, dim=1)
    return torch.tanh(passed) * torch.sigmoid(gate)


ContextName = Literal["pixel", "bolts", "gated"]


def context_network(name: ContextName, dim: int, hidden: int, blocks: int) -> nn.Module:
    """Return a context network; a gated one has neither hidden channels nor another depth."""
    if name == "gated":
        return GatedContext(dim)
    return PixelContext(dim, hidden, blocks, "bolts" if name == "bolts" else "paper")
