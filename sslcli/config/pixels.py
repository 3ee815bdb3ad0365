"""The fields that make an encoder's input of an image: size, mean and deviation."""

from dataclasses import dataclass
from typing import Literal

Triple = tuple[float, float, float]
Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Pixels:
    """The fields of `data` that evaluation makes tensors of images by.

    Attributes:
        image_size: Side of the square that the encoder sees, in pixels.
        mean: Mean of the red, green and blue channels, for images in [0, 1].
        std: Deviation of the same.
        resize: Shorter side before the centre crop; `image_size` when None.
        space: Colours of the channels.
        interpolation: Of the resize, which is antialiased.
    """

    image_size: int
    mean: Triple
    std: Triple
    resize: int | None = None
    space: Literal["rgb"] = "rgb"
    interpolation: Interpolation = "bilinear"

    @property
    def shorter_side(self) -> int:
        """Shorter side before the centre crop."""
        return self.resize or self.image_size

    @property
    def keeps_unit_range(self) -> bool:
        """Whether images stay in [0, 1]."""
        return (*self.mean, *self.std) == (0, 0, 0, 1, 1, 1)
