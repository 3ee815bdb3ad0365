"""Digital corruptions of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261).

Images are [B, 3, H, W] float32 in [0, 1], whole levels of 255; results are cut by the caller.
"""

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from sslcli.evaluate.robust.blur import smooth
from sslcli.evaluate.robust.draws import Draws


def contrast(images: Tensor, keep: float, draws: Draws) -> Tensor:
    """Move each channel towards its mean; draws nothing."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return (images - mean) * keep + mean


def saturate(images: Tensor, change: tuple[float, float], draws: Draws) -> Tensor:
    """Multiply the saturation of HSV and add to it; draws nothing.

    Grey has the hue of red there, so an addition reddens it, as in CIFAR-10-C.
    """
    factor, addition = change
    value, low = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    saturation = (value - low) / value.clamp(min=1e-6)
    wanted = (saturation * factor + addition).clamp(0, 1)
    red = torch.tensor([0.0, 1.0, 1.0], device=images.device).view(3, 1, 1)  # missing in red
    missing = torch.where(saturation > 0, (value - images) / saturation.clamp(min=1e-6),
                          value * red)  # fmt: skip
    return value - missing * wanted


def pixelate(images: Tensor, share: float, draws: Draws) -> Tensor:
    """Shrink and enlarge again with Pillow's box filter; draws nothing."""
    levels = images * 255
    sides = images.shape[2:]
    small = _boxed(levels, [int(side * share) for side in sides])
    return _boxed(small, list(sides)) / 255


def _boxed(levels: Tensor, size: list[int]) -> Tensor:
    """Resize whole levels to (height, width), columns first and rounded after each axis."""
    rows, columns = (
        _box_matrix(*sides).to(levels.device) for sides in zip(levels.shape[2:], size, strict=True)
    )
    return (rows @ (levels @ columns.mT + 0.5).floor() + 0.5).floor()


def _box_matrix(before: int, after: int) -> Tensor:
    """Return the matrix [after, before] whose rows average the pixels that a target covers."""
    scale = before / after
    centre = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    offset = torch.arange(before) + 0.5 - centre[:, None]
    covers = (offset > -0.5 * max(scale, 1)) & (offset <= 0.5 * max(scale, 1))
    return (covers / covers.sum(dim=1, keepdim=True)).float()


def jpeg(images: Tensor, quality: int, draws: Draws) -> Tensor:
    """Compress each image by Pillow and read it again; draws nothing."""
    pixels = images.mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    back = np.stack([_through_jpeg(image, quality) for image in pixels])
    return torch.from_numpy(back).to(images.device).permute(0, 3, 1, 2).float() / 255


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        return np.asarray(read)


def elastic(images: Tensor, stretch: tuple[float, float, float], draws: Draws) -> Tensor:
    """Move three corners at random, then every pixel along a smooth random field.

    Args:
        images: [B, 3, S, S].
        stretch: Length and smoothness of the field, and reach of the corners, as shares of the
            side.
        draws: Corners and field.
    """
    height, width = images.shape[2:]
    length, smoothness, reach = (share * min(height, width) for share in stretch)
    rows, columns = (torch.arange(side, device=images.device).float() for side in (height, width))
    grid = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], dim=-1)
    ones = torch.ones(height, width, 1, device=images.device)
    whence = torch.cat([grid, ones], dim=-1) @ corner_map(height, width, reach, draws)[:, None]
    images = sampled(images, whence, align_corners=True)
    if not length:
        return images
    field = 2 * draws.uniform(1, 2, height, width) - 1
    shift = smooth(field, smoothness, truncate=3.0, edge="mirrored") * length
    return sampled(images, grid + shift.permute(0, 2, 3, 1), align_corners=False)


def corner_map(height: int, width: int, reach: float, draws: Draws) -> Tensor:
    """Return the maps that move three corners by at most `reach` pixels a coordinate, [B, 3, 2].

    Each takes (x, y, 1) of a result to the (x, y) that it comes from.
    """
    across, down, side = height // 2, width // 2, min(height, width) // 3
    corners = [[across + side, down + side], [across + side, down - side],
               [across - side, down - side]]  # fmt: skip
    points = torch.tensor(corners, device=draws.rows.device).float()
    moved = points + (2 * draws.uniform(0, 3, 2) - 1) * reach  # [B, 3, 2]
    ones = torch.ones(len(moved), 3, 1, device=moved.device)
    affine: Tensor = torch.linalg.solve(torch.cat([moved, ones], dim=2), points.expand_as(moved))
    return affine


def sampled(images: Tensor, places: Tensor, *, align_corners: bool) -> Tensor:
    """Return bilinear values at places (x, y) in pixels, [B, H, W, 2], edges mirrored.

    The mirror lies on the edge pixels' centres (as OpenCV's) or on their outer sides (SciPy's).
    """
    sides = torch.tensor(images.shape[:1:-1], device=images.device)  # W, H
    scaled = 2 * places / (sides - 1) - 1 if align_corners else (2 * places + 1) / sides - 1
    return functional.grid_sample(
        images, scaled, padding_mode="reflection", align_corners=align_corners
    )
