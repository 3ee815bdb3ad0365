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
    """The counter's stream of each operation; a number, once given, keeps its meaning."""

    CROP = 0
    FLIP = 1
    JITTER = 2
    GRAYSCALE = 3
    BLUR = 4
    SOLARIZE = 5


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

    def chance(self, stream: Stream, probability: float) -> Tensor:
        """Return whether something of this probability happens to each sample, [N] bool."""
        return self.uniform(stream, 1)[:, 0] < probability


@dataclass(frozen=True)
class Draws:
    """Every parameter of N views but the box of the crop, which needs the image's size.

    Attributes:
        flip: Mirror left and right, [N] bool.
        jitter: Apply the colour jitter, [N] bool.
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
    """Draw the parameters of every operation that follows the crop."""
    jitter, blur, solarize = config.jitter, config.blur, config.solarize
    numbers = samples.uniform(Stream.JITTER, 9)  # apply?, 4 factors, 4 ranks
    low, high = blur.sigma if blur else (0.0, 0.0)
    deviation = samples.uniform(Stream.BLUR, 2)  # apply?, sigma
    return Draws(
        flip=samples.chance(Stream.FLIP, config.flip),
        jitter=numbers[:, 0] < (jitter.probability if jitter else 0.0),
        factors=_factors(jitter, numbers[:, 1:5]),
        order=numbers[:, 5:].argsort(dim=1),
        grayscale=samples.chance(Stream.GRAYSCALE, config.grayscale),
        blur=deviation[:, 0] < (blur.probability if blur else 0.0),
        sigma=low + (high - low) * deviation[:, 1],
        solarize=samples.chance(Stream.SOLARIZE, solarize.probability if solarize else 0.0),
    )


def _factors(config: JitterConfig | None, numbers: Tensor) -> Tensor:
    """Scale four numbers a sample to torchvision's ranges, around 1 and, for the hue, around 0."""
    if config is None:
        return numbers
    strengths = (config.brightness, config.contrast, config.saturation)
    ranges = [(max(0.0, 1 - strength), 1 + strength) for strength in strengths]
    ranges.append((-config.hue, config.hue))
    columns = zip(ranges, numbers.unbind(1), strict=True)
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
    ratio = (low + (high - low) * numbers[:, 10:20]).exp()
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], dim=2).round()
    limits = torch.stack([torch.full_like(area, height), torch.full_like(area, width)], dim=2)
    fits = ((sides > 0) & (sides <= limits)).all(dim=2)
    first = fits.int().argmax(dim=1)[:, None]
    chosen = sides.take_along_dim(first[:, :, None], dim=1)[:, 0]  # [N, 2]
    corner = (numbers[:, 20:] * (limits[:, 0] - chosen + 1)).floor()
    drawn = torch.cat([corner, chosen], dim=1).long()
    central = [torch.full_like(first, side) for side in _central_box(config, height, width)]
    return torch.where(fits.any(dim=1)[:, None], drawn, torch.cat(central, dim=1))


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
