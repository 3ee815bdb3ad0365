"""The fields that make an encoder's input of an image: size, colour space, mean, deviation."""

from dataclasses import dataclass
from typing import Literal

Triple = tuple[float, float, float]
Interpolation = Literal["bilinear", "bicubic"]
Space = Literal["rgb", "lab", "ycbcr"]
# A mean and a deviation in each space's own units, to tell what would fit; those of Lab and YCbCr
# are CMC's (HobbitLong/CMC: train_CMC.py).
FITTING: dict[Space, tuple[Triple, Triple]] = {
    "rgb": ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "lab": ((50.0, 6.025, -6.6895), (50.0, 92.208, 101.1675)),
    "ycbcr": ((116.151, 121.080, 132.342), (109.5, 111.855, 111.964)),
}
_VALUES = {  # of each channel, in the units of a space
    "lab": ((0.0, 100.0), (-128.0, 128.0), (-128.0, 128.0)),
    "ycbcr": ((16.0, 240.0),) * 3,
}


def suits(space: Space, mean: Triple, std: Triple) -> bool:
    """Say whether a mean and a deviation can be those of a space's values."""
    if space == "rgb":
        return max(std) <= 1
    within = zip(_VALUES[space], mean, strict=True)
    return max(std) > 1 and all(low <= value <= high for (low, high), value in within)


@dataclass(frozen=True)
class Pixels:
    """The fields of `data` that evaluation makes tensors of images by.

    Attributes:
        image_size: Side of the square that the encoder sees, in pixels.
        mean: Mean of each channel: of red, green and blue in [0, 1], or in the units of `space`.
        std: Deviation of the same.
        resize: Shorter side before the centre crop; `image_size` when None.
        space: What red, green and blue become before they are normalised: stay as they are, L, a
            and b (L from 0 to 100), or Y, Cb and Cr (from 16 to 240).
        interpolation: Of the resize, which is antialiased.
    """

    image_size: int
    mean: Triple
    std: Triple
    resize: int | None = None
    space: Space = "rgb"
    interpolation: Interpolation = "bilinear"

    @property
    def shorter_side(self) -> int:
        """Shorter side before the centre crop."""
        return self.resize or self.image_size

    @property
    def keeps_unit_range(self) -> bool:
        """Whether images stay in [0, 1]."""
        return self.space == "rgb" and (*self.mean, *self.std) == (0, 0, 0, 1, 1, 1)
