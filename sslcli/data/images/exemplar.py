"""Exemplar-CNN's transformations, batched: shift, scale, rotate, and three changes of colour.

Dosovitskiy et al. 2014, arXiv:1406.6909, section 2.2. A row has a fixed number of parameter
vectors, and each view shows one of them. Colours change on pixels in [0, 1], before normalisation.
Where the paper gives a range around 1 and no distribution, the logarithm is uniform.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sslcli.config.pixels import Triple
from sslcli.config.views import ExemplarConfig
from sslcli.data.counter import uniform
from sslcli.data.images.color import apply_where, mirror
from sslcli.data.images.draws import Samples

_STREAM = 1  # of the counter; other views use 0
_VIEWS = 1 << 32  # apart from any number of parameter vectors


@dataclass(frozen=True)
class Vectors:
    """The parameters of N views.

    Attributes:
        shift: Down and right, in sides of the window, [N, 2].
        scale: Magnification, [N].
        angle: Counter-clockwise, in radians, [N].
        components: Factor on each principal component of colour, [N, 3].
        power: Of saturation and value, [N, 2].
        factor: On saturation and value, [N, 2].
        offset: Added to saturation and value, [N, 2].
        hue: Added to the hue, in full circles, [N].
    """

    shift: Tensor
    scale: Tensor
    angle: Tensor
    components: Tensor
    power: Tensor
    factor: Tensor
    offset: Tensor
    hue: Tensor


def draw_vectors(samples: Samples, config: ExemplarConfig) -> Vectors:
    """Return the parameters of each sample: one of its row's `config.vectors`."""
    seed, rows, views = samples.seed, samples.rows, samples.views
    which = uniform(seed, samples.epoch, rows, views, _STREAM, 1)[:, 0]
    which = (which * config.vectors).long().clamp(max=config.vectors - 1)
    u = uniform(seed, 0, rows, views * _VIEWS + which, _STREAM, 14)
    centred = 2 * u - 1  # in [-1, 1)
    return Vectors(
        shift=config.translation * centred[:, 0:2],
        scale=_around_one(config.scale, u[:, 2]),
        angle=math.radians(config.rotation) * centred[:, 3],
        components=_around_one(config.components, u[:, 4:7]),
        power=_around_one(config.power, u[:, 7:9]),
        factor=_around_one(config.factor, u[:, 9:11]),
        offset=config.offset * centred[:, 11:13],
        hue=config.hue * centred[:, 13],
    )


def _around_one(bounds: tuple[float, float], u: Tensor) -> Tensor:
    low, high = map(math.log, bounds)
    return torch.exp(low + (high - low) * u)


def transform(
    images: Tensor, size: int, config: ExemplarConfig, vectors: Vectors, flip: Tensor, mean: Triple
) -> Tensor:
    """Return the views, [N, 3, S, S] float32 in [0, 1].

    Args:
        images: Patches with a margin around them, [N, 3, H, W] uint8.
        size: Side S of the output.
        config: The window, and the components of colour.
        vectors: Parameters of each.
        flip: Mirror left and right, [N] bool.
        mean: Colour about which components are scaled.
    """
    views = warp(images.float().div_(255), size, config.window, vectors)
    apply_where(flip, mirror, views)
    views = scale_components(views, vectors.components, config.basis, mean)
    return change_hsv(views, vectors)


def warp(images: Tensor, size: int, window: float, vectors: Vectors) -> Tensor:
    """Look at each image through a shifted, turned and scaled window; mirrored beyond the border.

    Args:
        images: Shape [N, C, H, W].
        size: Side of the output.
        window: Side of the window at scale 1, as a share of the image's.
        vectors: Shift, scale and angle.
    """
    zoom = window / vectors.scale
    cos, sin = torch.cos(vectors.angle) * zoom, torch.sin(vectors.angle) * zoom
    down, right = (window * vectors.shift).unbind(1)  # half the image is 1, a side of it 2
    rows = [torch.stack([cos, -sin, -2 * right], 1), torch.stack([sin, cos, -2 * down], 1)]
    shape = [len(images), images.shape[1], size, size]
    grid = functional.affine_grid(torch.stack(rows, 1), shape, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def scale_components(
    images: Tensor, factors: Tensor, basis: tuple[Triple, Triple, Triple], mean: Triple
) -> Tensor:
    """Multiply each pixel's projection on each principal component of colour.

    Args:
        images: Shape [N, 3, H, W].
        factors: One a component, [N, 3].
        basis: Components in rows, orthonormal.
        mean: Where the components start.
    """
    axes = torch.tensor(basis, device=images.device)
    centre = torch.tensor(mean, device=images.device)[:, None, None]
    mix = torch.einsum("kc,nk,kd->ncd", axes, factors, axes)  # [N, 3, 3]
    return torch.einsum("ncd,ndhw->nchw", mix, images - centre).add_(centre).clamp_(0, 1)


def change_hsv(images: Tensor, vectors: Vectors) -> Tensor:
    """Raise saturation and value to a power, scale and shift them, and turn the hue."""
    hue, saturation, value = to_hsv(images)
    changed = torch.stack([saturation, value], dim=1)  # [N, 2, H, W]
    changed = changed.pow(_spread(vectors.power)) * _spread(vectors.factor)
    saturation, value = (changed + _spread(vectors.offset)).clamp_(0, 1).unbind(1)
    return from_hsv(hue + vectors.hue[:, None, None], saturation, value)


def _spread(values: Tensor) -> Tensor:
    return values[:, :, None, None]


def to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue in circles from red, saturation and value of [N, 3, H, W], each [N, H, W]."""
    red, green, blue = images.unbind(1)
    value, low = images.amax(dim=1), images.amin(dim=1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, 1.0)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    saturation = torch.where(value > 0, chroma / value.clamp(min=1e-12), 0.0)
    return (hue / 6).remainder(1), saturation, value


def from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return the colours [N, 3, H, W] of hue in circles, saturation and value, each [N, H, W]."""
    sixths = (
        6 * hue[:, None] + torch.tensor([5.0, 3.0, 1.0], device=hue.device)[:, None, None]
    ) % 6
    away = torch.minimum(sixths, 4 - sixths).clamp(0, 1)  # [N, 3, H, W]
    return value[:, None] * (1 - saturation[:, None] * away)
