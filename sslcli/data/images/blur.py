"""Gaussian blur of a batch, each sample with its own deviation, as products with band matrices."""

import torch
from torch import Tensor

_BLOCK = 56  # rows of a band matrix a product takes: short enough to skip most of its zeros


def gaussian_blur(kernel: int, images: Tensor, sigma: Tensor) -> Tensor:
    """Blur in place; equals torchvision's `gaussian_blur` with reflected edges to 1e-5.

    Args:
        kernel: Odd width of the window in pixels, below 2 S.
        images: Shape [N, 3, S, S] float32.
        sigma: Deviation in pixels, [N], positive.

    Returns:
        `images`.
    """
    size, reach = images.shape[-1], kernel // 2
    matrix = blur_matrix(sigma, kernel, size)[:, None]
    rows = torch.empty_like(images)
    for start in range(0, size, _BLOCK):
        out = slice(start, start + _BLOCK)
        band = slice(max(start - reach, 0), start + _BLOCK + reach)
        rows[:, :, out] = matrix[:, :, out, band] @ images[:, :, band]
    for start in range(0, size, _BLOCK):
        out = slice(start, start + _BLOCK)
        band = slice(max(start - reach, 0), start + _BLOCK + reach)
        images[..., out] = rows[..., band] @ matrix[:, :, out, band].mT
    return images


def blur_matrix(sigma: Tensor, kernel: int, size: int) -> Tensor:
    """Return the matrix [N, S, S] that blurs along one axis, its rows summing to 1."""
    offset = torch.arange(kernel, device=sigma.device) - kernel // 2
    weights = (-0.5 * (offset / sigma[:, None]) ** 2).exp()
    weights = weights / weights.sum(dim=1, keepdim=True)  # [N, kernel]
    source = (torch.arange(size, device=sigma.device)[:, None] + offset).abs()
    source = (size - 1) - ((size - 1) - source).abs()  # [S, kernel], edges reflected
    shape = (len(sigma), size, kernel)
    matrix = weights.new_zeros(len(sigma), size, size)
    return matrix.scatter_add_(2, source.expand(shape), weights[:, None].expand(shape))


def auto_kernel(size: int) -> int:
    """Return a tenth of the size made odd, at least 3 (SimCLR: 23 at 224 px, 3 at 32 px)."""
    return max(3, size // 10 | 1)
