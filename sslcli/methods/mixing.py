"""Mix images and their labels: mixup and CutMix, one draw a batch, as timm has them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional

from sslcli.config.section import MixingSection


def mix(
    images: Float[Tensor, "batch 3 height width"],
    labels: Int[Tensor, " batch"],
    config: MixingSection,
    num_classes: int,
) -> tuple[Tensor, Tensor]:
    """Mix each image with that of the opposite place in the batch.

    Mixup: Zhang et al. 2018, arXiv:1710.09412. CutMix: Yun et al. 2019, arXiv:1905.04899. With
    both, a coin chooses, as in `timm.data.mixup` with one draw a batch. Draws come from torch's
    random state of the CPU, which a run saves; the device is not waited for.

    Args:
        images: Normalised.
        labels: Their classes.
        config: The shapes of the Beta distributions; 0 switches one off.
        num_classes: C.

    Returns:
        The images, and the share of each class in them, [B, C].
    """
    weights = draw_weights(images.shape[2], images.shape[3], config).to(images)
    mixed = images.lerp(images.flip(0), weights)
    marks = functional.one_hot(labels, num_classes).to(images)
    return mixed, marks.lerp(marks.flip(0), weights.mean())


def draw_weights(height: int, width: int, config: MixingSection) -> Float[Tensor, "height width"]:
    """Draw the weight of the other image in each pixel: the same everywhere, or 1 in a box."""
    blended = torch.zeros(height, width)
    if config.mixup:
        blended = blended + (1 - _draw_share(config.mixup))
    if not config.cutmix:
        return blended
    pasted = draw_box(height, width, 1 - _draw_share(config.cutmix)).float()
    return torch.where(torch.rand(()) < 0.5, pasted, blended) if config.mixup else pasted


def draw_box(height: int, width: int, share: Tensor) -> Bool[Tensor, "height width"]:
    """Draw a box of a share of the image, whose centre is anywhere; what juts out is cut off."""
    side = share.sqrt()
    tall, wide = ((length * side).long() for length in (height, width))
    return _within(height, tall)[:, None] & _within(width, wide)


def _within(length: int, extent: Tensor) -> Tensor:
    """Return which of `length` places lie in an extent around a drawn centre, [length]."""
    start = torch.randint(length, ()) - extent // 2
    places = torch.arange(length)
    return (places >= start) & (places < start + extent)


def _draw_share(shape: float) -> Tensor:
    alike = torch.tensor(shape)
    return Beta(alike, alike, validate_args=False).sample()
