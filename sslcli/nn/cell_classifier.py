"""A linear classifier of every cell of a grid, whose logits are averaged (CPC v2)."""

import torch
from torch import Tensor, nn


class CellClassifier(nn.Module):
    """BatchNorm without scale and shift, a 1x1 convolution, and the mean over the cells.

    As CPC v2 evaluates its grid (arXiv:1905.09272, by a secondary note). In evaluation it is linear
    in the mean of the cells, so that a plain layer can stand for it.

    Args:
        width: Channels of the grid.
        classes: Number of logits.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.conv = nn.Conv2d(width, classes, 1)

    def forward(self, grid: Tensor) -> Tensor:
        """Map a grid [B, width, H, W] to logits [B, classes]."""
        logits: Tensor = self.conv(self.norm(grid)).mean(dim=(2, 3))
        return logits

    @torch.no_grad()
    def write_to(self, linear: nn.Linear) -> None:
        """Make a layer give, from the mean of a grid's cells, what this gives in evaluation."""
        mean, var = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert var is not None
        assert self.conv.bias is not None
        weight = self.conv.weight[:, :, 0, 0] / (var + self.norm.eps).sqrt()
        linear.weight.copy_(weight)
        linear.bias.copy_(self.conv.bias - weight @ mean)
