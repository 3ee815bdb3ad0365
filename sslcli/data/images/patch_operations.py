"""Changes of each patch by itself, for CPC: a part of it, AutoAugment's operations, a flip.

The sixteen operations and their ranges are those of rschwarz15/CPCV2-PyTorch
(data/image_preprocessing.py), which draws two of them a patch, each uniformly. There some work on
8-bit pixels and others on floats; here all do on 8-bit ones, with the kernels of AutoAugment.
Elastic deformations and colour histograms (De Fauw et al. 2018), the colour augmentation of Szegedy
et al. 2014, and the dropping of two colour channels are not confirmed and are missing.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sslcli.config.views import PatchConfig
from sslcli.data.images import autoaugment as kernels
from sslcli.data.images.color import Kernel, apply_where, mirror

# Which of a patch's random numbers are for what; a whole view crops by these.
_PART, _FLIP = slice(0, 2), 2
_FIRST, _EACH = 4, 4  # from there four numbers an operation: which, how much, and two places


def change_patches(
    patches: Tensor, originals: Tensor, order: Tensor, numbers: Tensor, config: PatchConfig
) -> None:
    """Cut, change and mirror each patch by its own draws, in place.

    Args:
        patches: Patch n is `originals[order[n]]`, [N, 3, s, s] float32 in [0, 1].
        originals: All patches, those of an image side by side, [N, 3, s, s].
        order: Permutation, [N].
        numbers: Uniform in [0, 1), [N, at least 20].
        config: What to do.
    """
    if config.part:
        _keep_part(patches, config.part, numbers[:, _PART])
    for step in range(config.operations):
        own = numbers[:, _FIRST + step * _EACH : _FIRST + (step + 1) * _EACH]
        others = _partners(order, own[:, 2], config.grid**2)
        _operate(patches, originals, others, own)
    if config.flip:
        apply_where(numbers[:, _FLIP] < config.flip, mirror, patches)


def _keep_part(patches: Tensor, part: int, numbers: Tensor) -> None:
    """Move a square of each patch into its middle, on black."""
    side = patches.shape[-1]
    margin = (side - part) // 2
    corner = (numbers * (side - part + 1)).long()  # [N, 2]
    place = torch.arange(part, device=patches.device)
    rows, columns = (corner[:, axis, None] + place for axis in (0, 1))  # [N, part] each
    index = (rows[:, :, None] * side + columns[:, None]).flatten(1)
    kept = patches.flatten(2).gather(2, index[:, None].expand(-1, 3, -1))
    middle = slice(margin, margin + part)
    patches.zero_()[:, :, middle, middle] = kept.view(*patches.shape[:2], part, part)


def _partners(order: Tensor, number: Tensor, cells: int) -> Tensor:
    """Return a patch of the same image for each, [N]."""
    return order // cells * cells + (number * cells).long()


def _operate(patches: Tensor, originals: Tensor, others: Tensor, numbers: Tensor) -> None:
    """Do one of the operations to each patch."""
    kind = (numbers[:, 0] * (len(_OPERATIONS) + 2)).long()
    side, amount, places = patches.shape[-1], numbers[:, 1], numbers[:, 2:]
    patches.mul_(255).round_()
    for index, (kernel, argument) in enumerate(_OPERATIONS):
        apply_where(kind == index, kernel, patches, argument(amount, side))
    sides = 1 + (amount * (side // 3)).long()
    apply_where(kind == len(_OPERATIONS), _cutout, patches, sides, places)
    pair = partial(_pair, originals)
    apply_where(kind == len(_OPERATIONS) + 1, pair, patches, 0.4 * amount, others)
    patches.div_(255)


def _brightness(images: Tensor, weight: Tensor) -> Tensor:
    """Blend with black; a weight above 1, [N], leads away from it."""
    return images.mul_(weight[:, None, None, None]).clamp_(0, 255).trunc_()


def _cutout(images: Tensor, sides: Tensor, numbers: Tensor) -> Tensor:
    """Paint a square of medium grey, of a side [N], anywhere within the image."""
    corner = (numbers * (images.shape[-1] - sides + 1)[:, None]).long()  # [N, 2]
    place = torch.arange(images.shape[-1], device=images.device)
    rows, columns = (
        (place >= corner[:, axis, None]) & (place < (corner[:, axis] + sides)[:, None])
        for axis in (0, 1)
    )
    return images.masked_fill_((rows[:, :, None] & columns[:, None])[:, None], 127.5)


def _pair(originals: Tensor, images: Tensor, weight: Tensor, others: Tensor) -> Tensor:
    """Add another patch, as it was before its own operations; white is the limit."""
    added = originals.index_select(0, others).mul_(255 * weight[:, None, None, None])
    return images.add_(added).clamp_(max=255)


def _between(low: float, high: float) -> Callable[[Tensor, int], Tensor]:
    """Return what turns uniform numbers into ones of a range."""
    return lambda number, side: low + (high - low) * number


def _shift(number: Tensor, side: int) -> Tensor:
    """Return whole pixels up to a third of the side, either way."""
    most = side // 3
    return (number * (2 * most + 1)).floor() - most


def _bits(number: Tensor, side: int) -> Tensor:
    """Return 4 to 8."""
    return 4 + (number * 5).floor()


def _black(kernel: Callable[..., Tensor]) -> Kernel:
    return partial(kernel, fill=0.0)


_WEIGHT = _between(0.1, 1.9)
_ANY = _between(0.0, 1.0)  # for what has no amount
_OPERATIONS: tuple[tuple[Kernel, Callable[[Tensor, int], Tensor]], ...] = (  # cutout and pair apart
    (_black(kernels.shear_x), _between(-0.3, 0.3)),
    (_black(kernels.shear_y), _between(-0.3, 0.3)),
    (_black(kernels.translate_x), _shift),
    (_black(kernels.translate_y), _shift),
    (_black(kernels.rotate), _between(-30.0, 30.0)),
    (kernels.autocontrast, _ANY),
    (kernels.invert, _ANY),
    (kernels.equalize, _ANY),
    (kernels.solarize, _between(0.0, 255.0)),
    (kernels.posterize, _bits),
    (kernels.contrast, _WEIGHT),
    (kernels.color, _WEIGHT),
    (_brightness, _WEIGHT),
    (kernels.sharpness, _WEIGHT),
)
