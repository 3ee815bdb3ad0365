"""AutoAugment on a batch (Cubuk et al. 2019, arXiv:1805.09501), each sample with its own pair.

The policies are defined on 8-bit pixels, so images are rounded to grey levels first, and after
each operation as torchvision's functions do on uint8. Kernels take and return grey levels,
[N, 3, S, S] float32 of whole numbers in [0, 255], changed in place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from sslcli.data.images.color import Kernel, apply_where, to_gray
from sslcli.data.images.policies import KINDS, POLICIES, WARPS, Operation


@dataclass(frozen=True)
class Operations:
    """The operations of N samples: two each, in order.

    Attributes:
        kind: Index in `KINDS`; 0 leaves the image alone, [N, 2] int64.
        argument: See `policies.Operation`, [N, 2].
        kinds: Those that the policy has.
        fill: Grey level of what a warp uncovers.
    """

    kind: Tensor
    argument: Tensor
    kinds: tuple[str, ...]
    fill: float


def draw_operations(policy: str, numbers: Tensor) -> Operations:
    """Turn five uniform numbers a sample into its operations.

    Args:
        policy: One of `POLICIES`.
        numbers: Which pair, whether to apply each of it, the sign of each, [N, 5].
    """
    pairs, fill = POLICIES[policy]
    which = (numbers[:, 0] * len(pairs)).long().clamp(max=len(pairs) - 1)

    def drawn(read: Callable[[Operation], float]) -> Tensor:
        table = [[read(one) for one in pair] for pair in pairs]
        return torch.tensor(table, device=numbers.device)[which]  # [N, 2]

    kind = drawn(lambda one: KINDS.index(one.kind))
    applied = numbers[:, 1:3] < drawn(lambda one: one.probability)
    negative = drawn(lambda one: one.signed) & (numbers[:, 3:5] < 0.5)
    amount = drawn(lambda one: float(one.amount))
    argument = drawn(lambda one: one.base) + torch.where(negative, -amount, amount)
    kinds = tuple(dict.fromkeys(one.kind for pair in pairs for one in pair))
    return Operations(torch.where(applied, kind, 0), argument, kinds, fill)


def autoaugment(images: Tensor, operations: Operations) -> Tensor:
    """Apply the drawn operations to images in [0, 1], [N, 3, S, S] float32, in place."""
    images.mul_(255).round_()
    for kind, argument in zip(
        operations.kind.unbind(1), operations.argument.unbind(1), strict=True
    ):
        for name in operations.kinds:
            kernel = (
                partial(_KERNELS[name], fill=operations.fill) if name in WARPS else _KERNELS[name]
            )
            apply_where(kind == KINDS.index(name), kernel, images, argument)
    return images.div_(255)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits, [N]."""
    width = 2.0 ** (8 - bits[:, None, None, None])
    return images.div_(width).floor_().mul_(width)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert what is at or above the threshold, [N]."""
    return images.copy_(torch.where(images >= threshold[:, None, None, None], 255 - images, images))


def solarize_add(images: Tensor, amount: Tensor) -> Tensor:
    """Add an amount, [N], to what is darker than medium grey."""
    added = (images + amount[:, None, None, None]).clamp_(0, 255)
    return images.copy_(torch.where(images < 128, added, images))


def invert(images: Tensor, _: Tensor) -> Tensor:
    """Swap dark and light."""
    return images.neg_().add_(255)


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel from black to white; one of a single level stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    stretched = ((images - low) * (255 / (high - low))).clamp_(0, 255).trunc_()
    return images.copy_(torch.where(high > low, stretched, images))


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Make each channel's levels equally frequent.

    As Pillow does it: a step is the number of pixels below the brightest level over 255.
    """
    levels = images.flatten(2).long()  # [N, 3, S * S]
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    brightest = counts.gather(2, levels.amax(dim=2, keepdim=True))
    step = (levels.shape[2] - brightest) // 255  # [N, 3, 1]
    below = counts.cumsum(dim=2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(0, 255).float()
    mapped = table.gather(2, levels).view_as(images)
    return images.copy_(torch.where(step[..., None] > 0, mapped, images))


def color(images: Tensor, weight: Tensor) -> Tensor:
    """Blend with the grey values; a weight above 1, [N], leads away from them."""
    return _blend(images, to_gray(images).trunc_(), weight)


def contrast(images: Tensor, weight: Tensor) -> Tensor:
    """Blend with the mean of the grey values."""
    return _blend(images, to_gray(images).trunc_().mean(dim=(2, 3), keepdim=True), weight)


def sharpness(images: Tensor, weight: Tensor) -> Tensor:
    """Blend with Pillow's SMOOTH filter, which leaves the border as it is."""
    smooth = images.clone()
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]  # sums of 3 by 3, exact
    inner = smooth[:, :, 1:-1, 1:-1]
    inner.mul_(4).add_(around).div_(13).round_()
    return _blend(images, smooth, weight)


def _blend(images: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    weight = weight[:, None, None, None]
    return images.mul_(weight).add_((1 - weight) * other).clamp_(0, 255).trunc_()


def rotate(images: Tensor, degrees: Tensor, fill: float) -> Tensor:
    """Turn about the centre."""
    x, y = _places(images)
    angle = torch.deg2rad(degrees)[:, None, None]
    cos, sin = angle.cos(), angle.sin()
    return _look(images, cos * x - sin * y, sin * x + cos * y, fill)


def shear_x(images: Tensor, slope: Tensor, fill: float) -> Tensor:
    """Shift rows, each by its distance from the top edge times the slope."""
    x, y = _places(images)
    return _look(images, x + slope[:, None, None] * (y + images.shape[2] / 2), y, fill)


def shear_y(images: Tensor, slope: Tensor, fill: float) -> Tensor:
    """Shift columns, each by its distance from the left edge times the slope."""
    x, y = _places(images)
    return _look(images, x, y + slope[:, None, None] * (x + images.shape[3] / 2), fill)


def translate_x(images: Tensor, pixels: Tensor, fill: float) -> Tensor:
    """Shift right."""
    x, y = _places(images)
    return _look(images, x - pixels[:, None, None], y, fill)


def translate_y(images: Tensor, pixels: Tensor, fill: float) -> Tensor:
    """Shift down."""
    x, y = _places(images)
    return _look(images, x, y - pixels[:, None, None], fill)


def _places(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y of each pixel from the centre, each [1, S, S]."""
    half = images.shape[-1] / 2
    line = torch.arange(0.5 - half, half, device=images.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x[None], y[None]


def _look(images: Tensor, x: Tensor, y: Tensor, fill: float) -> Tensor:
    """Take the nearest pixel at x and y, [N or 1, S, S], and `fill` beyond the border.

    Zeros stand for what is uncovered, so the fill's level is taken off before and put on after.
    """
    half = images.shape[-1] / 2
    grid = torch.stack(torch.broadcast_tensors(x / half, y / half), dim=3)
    moved = functional.grid_sample(images - fill, grid, mode="nearest", align_corners=False)
    return images.copy_(moved.add_(fill))


_KERNELS: dict[str, Kernel] = {
    "posterize": posterize,
    "solarize": solarize,
    "solarize-add": solarize_add,
    "invert": invert,
    "autocontrast": autocontrast,
    "equalize": equalize,
    "color": color,
    "contrast": contrast,
    "sharpness": sharpness,
    "rotate": rotate,
    "shear-x": shear_x,
    "shear-y": shear_y,
    "translate-y": translate_y,
}
