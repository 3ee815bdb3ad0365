"""Pillow's Gaussian blur of a batch, each sample with its own deviation, to the last bit.

Three boxes a direction stand for the Gaussian, and each result is rounded to 8 bits (Pillow's
BoxBlur.c, after Gwosdek et al. 2011, "Theoretical foundations of Gaussian convolution by extended
box filtering"). A box takes 2 R + 1 pixels whole and a share of one more on either side; beyond the
edge the last pixel goes on. Pixels are counted from -128 here: their sums, in units of 2^-24, then
fit 32 bits with their signs, and a shift is all that rounds them.
"""

from functools import partial

import torch
from torch import Tensor

from sslcli.data.images.color import apply_where

_PASSES, _BITS = 3, 24
_ADDED = 3  # whole pixels on a side that are sooner added than taken from running sums


def pillow_blur(images: Tensor, reach: Tensor, *weights: Tensor) -> Tensor:
    """Round to 8 bits and blur, in place; equals Pillow's `GaussianBlur`.

    Args:
        images: In [0, 1], [N, 3, H, W] float32.
        reach: What `boxes` makes of the deviations, [N].
        *weights: The rest of it, each [N].

    Returns:
        `images`.
    """
    images.mul_(255).round_().sub_(128)
    if images.device.type == "cpu":
        for alike in sorted(set(reach.tolist())):
            apply_where(reach == alike, partial(blur_alike, alike), images, *weights)
    else:
        blur_apart(images, reach, *weights)
    return images.add_(128).div_(255)


def boxes(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the boxes whose repetition has these deviations, with Pillow's digits.

    Returns:
        Whole pixels on either side of the middle, R, [N] int64; then [N] int32 in units of 2^-24:
        the weight of each whole pixel, that of the one beyond, and what a sum of pixels counted
        from -128 lacks for being rounded when it is cut off.
    """
    variance = sigma.float().square() / _PASSES  # of one box
    reach = (((12 * variance.double() + 1).sqrt().float() - 1) / 2).floor()
    share = (2 * reach + 1) * (reach * (reach + 1) - 3 * variance)
    radius = reach + share / (6 * (variance - (reach + 1).square()))
    reach = radius.long()
    whole = (2**_BITS / (2 * radius + 1)).long()
    rest = 2**_BITS - (2 * reach + 1) * whole  # for the two pixels beyond, one unit lost if odd
    half = 2 ** (_BITS - 1) - 128 * (rest % 2)
    return reach, whole.int(), (rest // 2).int(), half.int()


def blur_alike(reach: int, images: Tensor, whole: Tensor, part: Tensor, half: Tensor) -> Tensor:
    """Blur with boxes that reach equally far, in place: the CPU's way, by sums of shifted images.

    Lines are padded, so that a shift is one contiguous addition. What it carries from one line into
    the next lands in the padding, which is written before it is read.

    Args:
        reach: Whole pixels on either side of the middle.
        images: Whole numbers from -128 to 127, [N, 3, H, W] float32.
        whole: Weight of each whole pixel as in `boxes`, [N].
        part: Weight of the pixel beyond them, [N].
        half: What rounds, [N].
    """
    count, channels, height, width = images.shape
    whole, part, half = whole[:, None], part[:, None], half[:, None]
    pixels, edge = images, reach + 1
    for shape in ((count, channels * height, width, 1), (count, channels, height, width)):
        inner = shape[3]  # values from one pixel of a line to the next
        padded = torch.empty(*shape[:2], shape[2] + 2 * edge, inner, dtype=torch.int32)
        padded[:, :, edge:-edge] = pixels.view(shape)
        flat = padded.view(count, -1)
        middle = flat[:, edge * inner : -edge * inner]
        beyond, total = torch.empty_like(middle), torch.empty_like(middle) if reach else middle
        for _ in range(_PASSES):
            padded[:, :, :edge] = padded[:, :, edge : edge + 1]
            padded[:, :, -edge:] = padded[:, :, -edge - 1 : -edge]
            torch.add(flat[:, : -2 * edge * inner], flat[:, 2 * edge * inner :], out=beyond)
            if reach:
                _sum_window(padded, reach, total)
            torch.mul(total, whole, out=middle)
            middle.addcmul_(beyond, part).add_(half).bitwise_right_shift_(_BITS)
        pixels = padded[:, :, edge:-edge]
    return images.copy_(pixels)


def _sum_window(padded: Tensor, reach: int, total: Tensor) -> None:
    """Sum the 2 R + 1 pixels about each that is not padding into `total`, [N, values]."""
    inner = padded.shape[3]
    if reach > _ADDED:
        sums, edge = padded.cumsum(dim=2, dtype=torch.int32).flatten(1), (reach + 1) * inner
        torch.sub(sums[:, 2 * edge - inner : -inner], sums[:, : -2 * edge], out=total)
        return
    flat = padded.flatten(1)
    shifted = [flat[:, start * inner :][:, : total.shape[1]] for start in range(1, 2 * reach + 2)]
    torch.add(shifted[0], shifted[1], out=total)
    for others in shifted[2:]:
        total += others


def blur_apart(images: Tensor, reach: Tensor, whole: Tensor, part: Tensor, half: Tensor) -> Tensor:
    """Do what `blur_alike` does with boxes of any reach, [N] int64, unknown to the host."""
    pixels = images.to(torch.int32)
    reach, whole, part, half = (value.view(-1, 1, 1, 1) for value in (reach, whole, part, half))
    for dim in (3, 2):
        for _ in range(_PASSES):
            total, beyond = _sums(pixels, reach, dim)
            pixels = (total * whole + beyond * part + half) >> _BITS
    return images.copy_(pixels)


def _sums(pixels: Tensor, reach: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the sum of the whole pixels of each box, and of the two beyond."""
    last = pixels.shape[dim] - 1
    place = torch.arange(last + 1, device=pixels.device)
    place = place if dim == 3 else place[:, None]
    before, after = place - reach, place + reach

    def take(values: Tensor, index: Tensor) -> Tensor:
        return values.gather(dim, index.clamp(0, last).expand_as(values))

    running = pixels.cumsum(dim, dtype=torch.int32)
    total = take(running, after) - take(running, before) + take(pixels, before)
    total += pixels.narrow(dim, 0, 1) * (-before).clamp(min=0)  # the edges go on
    total += pixels.narrow(dim, last, 1) * (after - last).clamp(min=0)
    return total, take(pixels, before - 1) + take(pixels, after + 1)
