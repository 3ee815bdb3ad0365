"""Position embeddings of image tokens: the fixed sin-cos table, and tables for other sizes."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def sin_cos_positions(width: int, grid: int) -> Float[Tensor, "tokens width"]:
    """Return MoCo v3's fixed 2-D table (Chen et al. 2021, arXiv:2104.02057, section 4).

    A quarter of the entries each is the sine and cosine of the first coordinate, then of the
    second, at the frequencies 10000 ** -(4 k / width). As in the authors' code the coordinates come
    from a mesh in "ij" order, so the first one is constant along a row of tokens.

    Args:
        width: Entries of a token, divisible by 4.
        grid: Tokens along a side.

    Returns:
        One row a patch, [grid * grid, width], row by row of the image.
    """
    quarter = width // 4
    frequencies = 10_000.0 ** (-torch.arange(quarter) / quarter)
    side = torch.arange(float(grid))
    angles = [
        coordinate.flatten()[:, None] * frequencies
        for coordinate in torch.meshgrid(side, side, indexing="ij")
    ]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def resample_positions(
    positions: Float[Tensor, "1 tokens width"], height: int, width: int
) -> Float[Tensor, "1 others width"]:
    """Interpolate a table bicubically for a crop of another size (DINO, arXiv:2104.14294).

    The authors' code adds 0.1 to the size before it divides, against rounding; here the size is
    given as it is.

    Args:
        positions: Of [CLS] and a square of patches, [1, 1 + grid * grid, D].
        height: Patches from top to bottom.
        width: Patches from left to right.

    Returns:
        [1, 1 + height * width, D]; `positions` itself when the size is its own.
    """
    grid = round((positions.shape[1] - 1) ** 0.5)
    if (height, width) == (grid, grid):
        return positions
    square = positions[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))  # [1, D, grid, grid]
    other = functional.interpolate(square, size=(height, width), mode="bicubic")
    return torch.cat([positions[:, :1], other.flatten(2).transpose(1, 2)], dim=1)
