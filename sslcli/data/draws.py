"""The random parameters of views, drawn per sample before any pixel moves.

Read them to see what a view did, or to replay it with torchvision's functions.
"""

import math
from dataclasses import dataclass, fields
from enum import IntEnum

import torch
from torch import Tensor

from sslcli.config.schema import JitterConfig, ViewConfig
from sslcli.data.counter import uniform


class Stream(IntEnum):
    """Streams of the counter that views use; a number, once given, keeps its meaning."""

    CROP = 0
    AFTER_CROP = 1


@dataclass(frozen=True)
class Samples:
    """The views to draw for: view `views[n]` of row `rows[n]`, both [N] int64."""

    seed: int
    epoch: int
    rows: Tensor
    views: Tensor

    def uniform(self, stream: Stream, count: int) -> Tensor:
        """Return `count` numbers in [0, 1) for each sample, [N, count] float32."""
        return uniform(self.seed, self.epoch, self.rows, self.views, stream, count)


@dataclass(frozen=True)
class Draws:
    """Every parameter of N views but the box of the crop, which needs the image's size.

    Attributes:
        flip: Mirror left and right, [N] bool.
        jitter: Change the colours, [N] bool.
        factors: Brightness, contrast, saturation and hue as torchvision's functions take them,
            [N, 4].
        order: The order in which those four are applied, [N, 4] int64 permutations.
        grayscale: Drop the colour, [N] bool.
        blur: Apply the Gaussian blur, [N] bool.
        sigma: Its deviation in pixels, [N].
        solarize: Invert what is at or above the threshold, [N] bool.
    """

    flip: Tensor
    jitter: Tensor
    factors: Tensor
    order: Tensor
    grayscale: Tensor
    blur: Tensor
    sigma: Tensor
    solarize: Tensor

    def at(self, index: Tensor) -> "Draws":
        """Return the parameters of some of the samples."""
        return Draws(*(getattr(self, field.name)[index] for field in fields(self)))


def draw(config: ViewConfig, samples: Samples) -> Draws:
    """Draw the parameters of every operation that follows the crop.

    Each operation has columns of its own in one table of numbers; a new one takes new columns.
    """
    jitter, blur, solarize = config.jitter, config.blur, config.solarize
    numbers = samples.uniform(Stream.AFTER_CROP, 14)
    low, high = blur.sigma if blur else (0.0, 0.0)
    return Draws(
        flip=numbers[:, 0] < config.flip,
        jitter=numbers[:, 1] < (jitter.probability if jitter else 0.0),
        factors=_factors(jitter, numbers[:, 2:6]),
        order=numbers[:, 6:10].argsort(dim=1),
        grayscale=numbers[:, 10] < config.grayscale,
        blur=numbers[:, 11] < (blur.probability if blur else 0.0),
        sigma=low + (high - low) * numbers[:, 12],
        solarize=numbers[:, 13] < (solarize.probability if solarize else 0.0),
    )


def _factors(config: JitterConfig | None, numbers: Tensor) -> Tensor:
    """Scale four numbers a sample to torchvision's ranges, around 1 and, for the hue, around 0."""
    if config is None:
        return numbers
    strengths = (config.brightness, config.contrast, config.saturation)
    ranges = [(max(0.0, 1 - strength), 1 + strength) for strength in strengths]
    columns = zip([*ranges, (-config.hue, config.hue)], numbers.unbind(1), strict=True)
    return torch.stack([low + (high - low) * column for (low, high), column in columns], dim=1)


def draw_boxes(config: ViewConfig, samples: Samples, height: int, width: int) -> Tensor:
    """Draw crops as torchvision's RandomResizedCrop: uniform area, log-uniform aspect ratio.

    The first of ten tries that fits counts, else a central crop of the nearest allowed ratio.
    Computed in float64, so that a worker and an accelerator round to the same pixels.

    Returns:
        Top, left, height and width in pixels, [N, 4] int64.
    """
    numbers = samples.uniform(Stream.CROP, 22).double()
    (small, large), (low, high) = config.crop_scale, map(math.log, config.crop_ratio)
    area = height * width * (small + (large - small) * numbers[:, :10])  # [N, 10], a try a column
    ratio = torch.exp(low + (high - low) * numbers[:, 10:20])
    tall, wide = (area / ratio).sqrt_().round_(), (area * ratio).sqrt_().round_()
    fits = (tall > 0) & (tall <= height) & (wide > 0) & (wide <= width)
    first = fits.int().argmax(dim=1, keepdim=True)
    tall, wide = tall.gather(1, first), wide.gather(1, first)  # [N, 1]
    top, left = numbers[:, 20:21] * (height - tall + 1), numbers[:, 21:] * (width - wide + 1)
    drawn = torch.cat([top, left, tall, wide], dim=1).long()
    central = [torch.full_like(first, side) for side in _central_box(config, height, width)]
    return torch.where(fits.any(dim=1, keepdim=True), drawn, torch.cat(central, dim=1))


def _central_box(config: ViewConfig, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the largest central box whose aspect ratio is allowed: top, left, height, width."""
    low, high = config.crop_ratio
    ratio = min(max(width / height, low), high)
    tall, wide = height, width
    if width / height < low:
        tall = round(width / ratio)
    elif width / height > high:
        wide = round(height * ratio)
    return (height - tall) // 2, (width - wide) // 2, tall, wide
