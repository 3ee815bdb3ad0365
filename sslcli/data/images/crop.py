"""Crop and resize a batch, each sample with its own box, as two products with small matrices.

Resampling is separable and linear: a row of the output weighs the rows of the input. One matrix
[S, H] and one [W, S] a sample say how, with torchvision's and Pillow's antialiased weights.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_CACHED_VALUES = 1 << 18  # values of images that a CPU resizes at a time, to stay in its caches

Interpolation = Literal["bilinear", "bicubic"]


def resized_crop(
    images: Tensor, boxes: Tensor, flip: Tensor, size: int, interpolation: Interpolation
) -> Tensor:
    """Cut each image's box, resize it to a square, and mirror it where asked.

    Bilinear equals torchvision's `resized_crop(antialias=True)` on float images to 1e-5. Bicubic,
    which overshoots, is clamped after each pass as on 8-bit images: within 1.5 grey levels of what
    Pillow makes across and then down. (Since version 13 it starts downwards where tall boxes shrink
    most, to be faster; papers' versions did not.) Mirroring is free: it reverses the columns of a
    matrix. Where TF32 products are allowed they are good to 1e-3, a quarter of a grey level.

    Args:
        images: Shape [N, 3, H, W] uint8.
        boxes: Top, left, height and width in pixels, [N, 4]; what lies outside an image is black.
        flip: Mirror left and right, [N] bool.
        size: Side S of the output in pixels.
        interpolation: The filter.

    Returns:
        Images in [0, 1], [N, 3, S, S] float32.
    """
    count, channels, height, width = images.shape
    top, left, tall, wide = boxes.float().unbind(1)
    left, wide = torch.where(flip, left + wide, left), torch.where(flip, -wide, wide)
    across = resize_matrix(left, wide, width, size, interpolation)
    down = resize_matrix(top, tall, height, size, interpolation).div_(255)
    crops = torch.empty(count, channels, size, size, device=images.device)
    step = max(1, _CACHED_VALUES // images[0].numel()) if images.device.type == "cpu" else count
    for part in (slice(start, start + step) for start in range(0, count, step)):
        pixels = images[part].to(torch.float32, memory_format=torch.contiguous_format)
        pixels = pixels.view(-1, channels * height, width)
        rows = torch.bmm(pixels, across[part].mT, out=pixels.new_empty(*pixels.shape[:2], size))
        if interpolation == "bicubic":  # Pillow keeps 8 bits between its two passes
            rows.clamp_(0, 255)
        rows = rows.view(-1, channels, height, size)
        torch.matmul(down[part, None], rows, out=crops[part])
    return crops.clamp_(0, 1) if interpolation == "bicubic" else crops


def shifted(images: Tensor, shift: Tensor, flip: Tensor) -> Tensor:
    """Cut squares of the images' own size elsewhere in them, continued by reflection.

    Args:
        images: Shape [N, 3, S, S], mirrored where `flip` says so.
        shift: How far down and right in the unmirrored image, [N, 2] int64, below S.
        flip: Mirrored left and right, [N] bool.
    """
    down, right = shift.unbind(1)
    right = torch.where(flip, -right, right)
    place = torch.arange(images.shape[-1], device=images.device)
    last = images.shape[-1] - 1
    rows, columns = (last - (last - (place + by[:, None]).abs()).abs() for by in (down, right))
    index = (rows[:, :, None] * images.shape[-1] + columns[:, None]).flatten(1)  # [N, S * S]
    pixels = images.flatten(2)
    return pixels.gather(2, index[:, None].expand_as(pixels)).view_as(images)


def resize_matrix(
    start: Tensor, length: Tensor, size_in: int, size_out: int, interpolation: Interpolation
) -> Tensor:
    """Return each sample's weights of input pixels for output pixels along one axis.

    Args:
        start: Edge of the box where the output begins, [N] float32.
        length: From there to the other edge, [N] float32; negative to run backwards.
        size_in: Pixels of the whole input, I.
        size_out: Pixels of the output, S.
        interpolation: The filter.

    Returns:
        Rows that sum to 1 and are zero outside the box, [N, S, I] float32; rows of zeros where the
        box lies outside the input.
    """
    start, length = start[:, None], length[:, None]
    pixel = torch.arange(0.5, size_in, device=start.device)
    centre = start + length / size_out * torch.arange(0.5, size_out, device=start.device)  # [N, S]
    support = (length.abs() / size_out).clamp(min=1)  # antialias only when shrinking
    distance = (pixel / support)[:, None] - (centre / support)[:, :, None]  # [N, S, I]
    inside = (pixel - start - length / 2).abs() < length.abs() / 2  # [N, I]
    weights = _FILTERS[interpolation](distance.abs_()).mul_(inside[:, None])
    whole = weights.sum(dim=2, keepdim=True)
    return weights.div_(whole.clamp_(min=1e-6))  # 0 where a box has left the image: black


def _triangle(distance: Tensor) -> Tensor:
    """Fall from 1 at no distance to 0 at one pixel."""
    return distance.neg_().add_(1).clamp_(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Weigh as Keys' cubic with a = -0.5; each branch is zero where it is clamped."""
    near, far = distance.clamp(max=1), distance.clamp(1, 2)
    return ((1.5 * near - 2.5) * near * near + 1) - 0.5 * (((far - 5) * far + 8) * far - 4)


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


def cut(
    image: np.ndarray, box: Sequence[int], size: int, interpolation: Interpolation
) -> np.ndarray:
    """Cut and resize one large 8-bit image, within one grey level of Pillow.

    Args:
        image: Shape [H, W, 3] uint8.
        box: Top, left, height and width in pixels; what lies outside the image is black.
        size: Side S of the output in pixels.
        interpolation: The filter.

    Returns:
        Shape [S, S, 3] uint8.
    """
    top, left, tall, wide = box
    out = [max(0, -top, top + tall - image.shape[0]), max(0, -left, left + wide - image.shape[1])]
    if any(out):  # a box may lie partly outside, in black
        image = np.pad(image, ((out[0],) * 2, (out[1],) * 2, (0, 0)))
    top, left = top + out[0], left + out[1]
    region = torch.from_numpy(image[None, top : top + tall, left : left + wide].copy())
    resized = functional.interpolate(
        region.permute(0, 3, 1, 2),  # channels last in every stride, which has a fast kernel
        (size, size),
        mode=interpolation,
        antialias=True,
        align_corners=False,
    )
    return resized[0].permute(1, 2, 0).contiguous().numpy()
