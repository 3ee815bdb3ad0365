"""Colour jitter as TensorFlow's image operations do it, on which SimCLR's and BYOL's code rests.

Against torchvision's: contrast turns about the mean of each channel, not of the grey values;
saturation multiplies that of HSV, and keeps the value; and brightness may be a number that is added
(`tf.image.random_brightness`, in SimCLR v1 and BYOL) or a factor (in SimCLR v2).
"""

import torch
from torch import Tensor

from sslcli.data.images.color import apply_where, shift_hue

_STEPS = 4


def tensorflow_jitter(is_added: bool, images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue in an order of each sample's own, in place.

    Args:
        is_added: Whether the brightness is added, not multiplied.
        images: In [0, 1], [N, 3, H, W]; clamped after every step.
        factors: Brightness, contrast, saturation and hue, [N, 4].
        order: Permutations of 0 to 3, the order of execution, [N, 4].
    """
    brightness, contrast, saturation, hue = factors.unbind(1)
    for step in range(_STEPS):
        due = order[:, step]
        apply_where(due == 0, add if is_added else multiply, images, brightness)
        apply_where(due == 1, spread_channels, images, contrast)
        apply_where(due == 2, saturate, images, saturation)
        apply_where(due == 3, shift_hue, images, hue)
    return images


def add(images: Tensor, value: Tensor) -> Tensor:
    """Add a number of each sample's own, [N]."""
    return images.add_(value[:, None, None, None]).clamp_(0, 1)


def multiply(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by a number of each sample's own, [N]."""
    return images.mul_(factor[:, None, None, None]).clamp_(0, 1)


def spread_channels(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the distance of every value from the mean of its channel."""
    rest = images.mean(dim=(2, 3), keepdim=True) * (1 - factor[:, None, None, None])
    return images.mul_(factor[:, None, None, None]).add_(rest).clamp_(0, 1)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the saturation of HSV, up to 1: channels move away from the largest of them."""
    high, low = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    full = high / (high - low).clamp(
        min=torch.finfo(images.dtype).tiny
    )  # the factor that ends at 1
    reached = torch.minimum(full, factor[:, None, None, None])
    return images.sub_(high).mul_(reached).add_(high).clamp_(0, 1)
