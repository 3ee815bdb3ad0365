"""The random parameters of views, drawn per sample before any pixel moves.

They tell how a view was made, and replay it with torchvision's functions.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sslcli.config.views import JitterConfig, Operation, ViewConfig
from sslcli.data.counter import uniform

_STREAM = 0  # of the counter; views use no other

# What each random number of a view is for. A column keeps its meaning, and an operation that is
# added takes new ones, so that no other operation's draws shift.
_AREA, _RATIO, _CORNER = slice(0, 10), slice(10, 20), slice(20, 22)  # ten tries, then the place
_FLIP, _JITTER, _GRAYSCALE, _BLUR, _SOLARIZE = 22, 23, 24, 25, 26  # whether
_FACTORS, _RANKS, _SIGMA = slice(27, 31), slice(31, 35), 35
_POLICY = slice(36, 41)
_SHIFT, _SHIFTED = slice(41, 43), 43  # by how much, and whether
_COLUMNS = 44
_OF: dict[Operation, list[int]] = {  # the columns that each operation reads
    "crop": [*range(22), 41, 42, _SHIFTED],
    "flip": [_FLIP],
    "jitter": [_JITTER, *range(27, 35)],
    "grayscale": [_GRAYSCALE],
    "blur": [_BLUR, _SIGMA],
    "solarize": [_SOLARIZE],
    "autoaugment": [*range(36, 41)],
}
_PATCH = 1 << 32  # apart from any number of views


@dataclass(frozen=True)
class Samples:
    """The views to draw for: view `views[n]` of row `rows[n]`, both [N] int64.

    What `shared` names is drawn for view `first` of the row instead, by all of them.
    """

    seed: int
    epoch: int
    rows: Tensor
    views: Tensor
    first: int = 0
    shared: tuple[Operation, ...] = ()

    def at(self, piece: slice) -> "Samples":
        """Return some of the samples."""
        return replace(self, rows=self.rows[piece], views=self.views[piece])

    def patches(self, count: int) -> "Samples":
        """Return `count` patches of each sample, [N * count], each with numbers of its own."""
        patch = _PATCH * torch.arange(1, count + 1, device=self.rows.device)
        views = (self.views[:, None] + patch).flatten()
        return replace(self, rows=self.rows.repeat_interleave(count), views=views, shared=())

    def numbers(self) -> Tensor:
        """Return every random number of these views, uniform in [0, 1), [N, 44] float32."""
        found = self._drawn(self.views)
        if self.shared:
            columns = [column for operation in self.shared for column in _OF[operation]]
            found[:, columns] = self._drawn(self.first)[:, columns]
        return found

    def _drawn(self, views: int | Tensor) -> Tensor:
        return uniform(self.seed, self.epoch, self.rows, views, _STREAM, _COLUMNS)


@dataclass(frozen=True)
class Draws:
    """Every parameter of N views but the box of the crop, which needs the image's size.

    Attributes:
        flip: Mirror left and right, [N] bool.
        shift: How far down and right in the image to cut, from -pad to pad, [N, 2] int64.
        jitter: Change the colours, [N] bool.
        factors: Brightness, contrast, saturation and hue as torchvision's functions take them, or
            a brightness to add, [N, 4].
        order: The order in which those four are applied, [N, 4] int64 permutations.
        grayscale: Drop the colour, [N] bool.
        blur: Apply the Gaussian blur, [N] bool.
        sigma: Its deviation in pixels, [N].
        solarize: Invert what is at or above the threshold, [N] bool.
        policy: Which pair of AutoAugment's operations, then whether to apply each of the two, then
            the sign of each one's argument: uniform numbers, [N, 5].
    """

    flip: Tensor
    shift: Tensor
    jitter: Tensor
    factors: Tensor
    order: Tensor
    grayscale: Tensor
    blur: Tensor
    sigma: Tensor
    solarize: Tensor
    policy: Tensor


def draw(config: ViewConfig, numbers: Tensor) -> Draws:
    """Turn the numbers of N views into the parameters of all that follows the crop."""
    low, high = config.blur.sigma if config.blur else (0.0, 0.0)
    return Draws(
        flip=numbers[:, _FLIP] < config.flip,
        shift=_shift(config, numbers),
        jitter=numbers[:, _JITTER] < (config.jitter.probability if config.jitter else 0.0),
        factors=_factors(config.jitter, numbers[:, _FACTORS]),
        order=numbers[:, _RANKS].argsort(dim=1),
        grayscale=numbers[:, _GRAYSCALE] < config.grayscale,
        blur=numbers[:, _BLUR] < (config.blur.probability if config.blur else 0.0),
        sigma=low + (high - low) * numbers[:, _SIGMA],
        solarize=numbers[:, _SOLARIZE] < (config.solarize.probability if config.solarize else 0.0),
        policy=numbers[:, _POLICY],
    )


def _shift(config: ViewConfig, numbers: Tensor) -> Tensor:
    """Return how far down and right in the image to cut, [N, 2] int64."""
    shift = (numbers[:, _SHIFT] * (2 * config.pad + 1)).long() - config.pad
    return shift * (numbers[:, _SHIFTED, None] < config.pad_probability)


def _factors(config: JitterConfig | None, numbers: Tensor) -> Tensor:
    """Scale four numbers a sample to their ranges: around 1, or around 0 for what is added."""
    if config is None:
        return numbers
    strengths = (config.brightness, config.contrast, config.saturation)
    ranges = [(max(0.0, 1 - strength), 1 + strength) for strength in strengths]
    if config.add_brightness:
        ranges[0] = -config.brightness, config.brightness
    columns = zip([*ranges, (-config.hue, config.hue)], numbers.unbind(1), strict=True)
    return torch.stack([low + (high - low) * column for (low, high), column in columns], dim=1)


def alike_together(config: ViewConfig, numbers: Tensor) -> Tensor:
    """Return an order of the samples, [N], with those side by side that take the same steps.

    First those whose hue turns before the other operations of the jitter, then those whose hue
    turns after one, two and three of them, then those without jitter.
    """
    if config.jitter is None:
        return torch.arange(len(numbers), device=numbers.device)
    ranks = numbers[:, _RANKS]
    before_hue = (ranks[:, :3] < ranks[:, 3:]).sum(dim=1)
    jitter = numbers[:, _JITTER] < config.jitter.probability
    return torch.where(jitter, before_hue, 4).argsort()


def draw_boxes(config: ViewConfig, numbers: Tensor, height: int, width: int) -> Tensor:
    """Turn the numbers of N views into crops, as torchvision's RandomResizedCrop draws them.

    The area is uniform and the aspect ratio log-uniform. The first of ten tries that fits counts,
    else a central crop of the nearest allowed ratio. Computed in float64, so that a worker and an
    accelerator round to the same pixels.

    Returns:
        Top, left, height and width in pixels, [N, 4] int64.
    """
    numbers = numbers.double()
    if config.resize:
        return _square_boxes(config, config.resize, numbers, height, width)
    (small, large), (low, high) = config.crop_scale, map(math.log, config.crop_ratio)
    area = height * width * (small + (large - small) * numbers[:, _AREA])  # [N, 10], a try a column
    ratio = torch.exp(low + (high - low) * numbers[:, _RATIO])
    tall, wide = (area / ratio).sqrt_().round_(), (area * ratio).sqrt_().round_()
    fits = (tall > 0) & (tall <= height) & (wide > 0) & (wide <= width)
    first = fits.int().argmax(dim=1, keepdim=True)
    tall, wide = tall.gather(1, first), wide.gather(1, first)  # [N, 1]
    top, left = numbers[:, _CORNER].split(1, dim=1)
    corner = [top * (height - tall + 1), left * (width - wide + 1)]
    drawn = torch.cat([*corner, tall, wide], dim=1).long()
    central = [torch.full_like(first, side) for side in _central_box(config, height, width)]
    return torch.where(fits.any(dim=1, keepdim=True), drawn, torch.cat(central, dim=1))


def _square_boxes(
    config: ViewConfig, shorter: int, numbers: Tensor, height: int, width: int
) -> Tensor:
    """Return squares of `size` anywhere in an image of a shorter side, and in its border of `pad`.

    In pixels of the image as it is, which a box may leave by the border.
    """
    scale = min(height, width) / shorter
    side, border = round(config.size * scale), round(config.pad * scale)
    room = torch.tensor([height, width], device=numbers.device) + 2 * border - side + 1
    corner = (numbers[:, _CORNER] * room).long() - border  # [N, 2]
    return torch.cat([corner, torch.full_like(corner, side)], dim=1)


def _central_box(config: ViewConfig, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the largest central box whose aspect ratio is allowed: top, left, height, width."""
    low, high = config.crop_ratio
    tall, wide = height, width
    if width / height < low:
        tall = round(width / low)
    elif width / height > high:
        wide = round(height * high)
    return (height - tall) // 2, (width - wide) // 2, tall, wide
