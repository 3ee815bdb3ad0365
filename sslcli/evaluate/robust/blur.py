"""Blurs of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261).

Images are [B, C, H, W] float32 in [0, 1]; lengths are pixels. Where the authors call a library, its
treatment of the edges is kept: SciPy's, OpenCV's, ImageMagick's.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sslcli.evaluate.robust.draws import Draws

Edge = Literal["nearest", "mirrored"]


def gaussian_blur(images: Tensor, sigma: float, draws: Draws) -> Tensor:
    """Blur with a Gaussian; draws nothing."""
    return smooth(images, sigma)


def smooth(images: Tensor, sigma: float, truncate: float = 4.0, edge: Edge = "nearest") -> Tensor:
    """Return the images after SciPy's Gaussian filter, cut off at `truncate` deviations.

    Beyond an edge, the edge's value is repeated, or the image is mirrored with its edge repeated.
    """
    rows, columns = (_matrix(side, sigma, truncate, edge, images) for side in images.shape[2:])
    return rows @ images @ columns.mT


def _matrix(size: int, sigma: float, truncate: float, edge: Edge, like: Tensor) -> Tensor:
    """Return the matrix [size, size] that blurs along one axis."""
    reach = int(truncate * sigma + 0.5)
    offset = torch.arange(-reach, reach + 1, device=like.device)
    weights = (-0.5 * (offset / sigma) ** 2).exp()
    source = torch.arange(size, device=like.device)[:, None] + offset  # [size, taps]
    if edge == "nearest":
        source = source.clamp(0, size - 1)
    else:
        source = source.remainder(2 * size)
        source = torch.minimum(source, 2 * size - 1 - source)
    spread = (weights / weights.sum()).expand(source.shape)
    return like.new_zeros(size, size).scatter_add_(1, source, spread)


def defocus_blur(images: Tensor, disk: tuple[float, float], draws: Draws) -> Tensor:
    """Average over a disk of some radius whose edge is softened by a deviation; draws nothing."""
    radius, softness = disk
    reach = int(radius) + 1
    x = torch.arange(-reach, reach + 1, device=images.device)
    inside = (x[:, None] ** 2 + x**2 <= radius**2).to(images.dtype)
    beside = math.exp(-0.5 / softness**2)
    soft = torch.tensor([beside, 1.0, beside], device=images.device) / (1 + 2 * beside)
    kernel = functional.conv2d((inside / inside.sum())[None, None], soft.outer(soft)[None, None],
                               padding=1)  # fmt: skip
    padded = functional.pad(images, (reach,) * 4, mode="reflect")
    channels = images.shape[1]
    return functional.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)


def glass_blur(images: Tensor, glass: tuple[float, int, int], draws: Draws) -> Tensor:
    """Blur, take pixels from up to `reach` above and left, some times over, and blur again.

    The authors mean to swap pixels, but their assignment of NumPy views copies; CIFAR-10-C was made
    so. In their order every source is read before it is written, so all pixels copy at once.
    """
    sigma, reach, times = glass
    height, width = images.shape[2:]
    pixels = (smooth(images, sigma) * 255 + 1e-3).floor() / 255
    rows = torch.arange(height, device=images.device)[:, None]
    columns = torch.arange(width, device=images.device)
    moved = (rows > reach) & (rows <= height - reach) & (columns > reach)
    moved = moved & (columns <= width - reach)
    for turn in range(times):
        jump = (draws.uniform(turn, 2, height, width) * 2 * reach).long() - reach
        down, right = (jump * moved).unbind(1)  # [B, H, W], from -reach to reach - 1
        pixels = take_pixels(pixels, rows + down, columns + right)
    return smooth(pixels, sigma)


def take_pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the pixels at `rows` and `columns`, [B, H, W] each; beyond an edge, the edge's."""
    height, width = images.shape[2:]
    place = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    flat = place.flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, flat).view(images.shape)


def motion_blur(images: Tensor, streak: tuple[int, float], draws: Draws) -> Tensor:
    """Streak each image along an angle of its own, at most 45 degrees from the horizontal."""
    return streaked(images, streak, draws.uniform(0, 1)[:, 0] * 90 - 45)


def streaked(images: Tensor, streak: tuple[int, float], degrees: Tensor) -> Tensor:
    """Average along a ray with one half of a Gaussian, in whole pixels, as ImageMagick does.

    Args:
        images: [B, C, H, W].
        streak: Radius and deviation; the ray has twice the radius, and one, pixels.
        degrees: Direction of each image's ray, [B].
    """
    radius, sigma = streak
    height, width = images.shape[2:]
    taps = torch.arange(2 * radius + 1, device=images.device)
    weights = (-0.5 * (taps / sigma) ** 2).exp()
    weights = weights / weights.sum()
    angle = degrees.deg2rad()[:, None]
    right, down = ((taps * part - 0.5).ceil().long() for part in (angle.cos(), angle.sin()))
    rows = torch.arange(height, device=images.device)[:, None].expand(height, width)
    columns = torch.arange(width, device=images.device).expand(height, width)
    total = torch.zeros_like(images)
    for tap, weight in enumerate(weights.tolist()):
        shifts = (shift[:, tap, None, None] for shift in (down, right))
        there = (place + shift for place, shift in zip((rows, columns), shifts, strict=True))
        total += weight * take_pixels(images, *there)
    return total


def zoom_blur(images: Tensor, farthest: float, draws: Draws) -> Tensor:
    """Average the image with its enlargements by 1, 1.01, ... up to a factor; draws nothing."""
    factors = np.arange(1, farthest, 0.01)  # rounding decides whether the last one is among them
    total = sum(zoomed(images, factor) for factor in factors)
    return (images + total) / (len(factors) + 1)


def zoomed(images: Tensor, factor: float) -> Tensor:
    """Enlarge the middle by a factor to the image's size, bilinear between corner pixels."""
    height, width = images.shape[2:]
    cut = _middle(images, math.ceil(height / factor), math.ceil(width / factor))
    size = [round(side * float(factor)) for side in cut.shape[2:]]
    large = functional.interpolate(cut, size, mode="bilinear", align_corners=True)
    return _middle(large, height, width)


def _middle(images: Tensor, height: int, width: int) -> Tensor:
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]
