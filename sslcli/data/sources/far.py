"""Images that are surely far from any data set: noise, constants, and test images taken apart.

Each image is a function of (kind, seed, row) through the counter-based generator. Sizes are those
that evaluation resizes images to, so no interpolation leaves traces on noise.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sslcli.config.pixels import Pixels
from sslcli.data.counter import uniform
from sslcli.data.evaluation import resize_and_crop
from sslcli.data.images.blur import gaussian_blur
from sslcli.data.order import epoch_order
from sslcli.data.sources.base import Source, derived

MOST = 10_000  # images of a far set
_STREAM = 201  # of the counter, of which neither views nor the order of samples draw
_TILES = 4  # a side, of a jigsaw


class FarSource(Source):
    """One far set beside a data set.

    Args:
        kind: One of `KINDS`, or "jigsaw".
        base: The inside images, whose number, up to 10,000, the far set has as well.
        pixels: The size that evaluation brings images to.
        seed: Decides every draw.
    """

    base: Source

    def __init__(self, kind: str, base: Source, pixels: Pixels, seed: int) -> None:
        self.kind, self.base, self.seed, self.name = kind, base, seed, kind
        # The side before the central crop: evaluation then takes the middle and resizes nothing.
        self.side = pixels.shorter_side
        self._make = _MAKERS[kind]
        self._partners = _partners(len(base), seed)
        self._facts = f"{kind} {seed} {self.side} {len(self)}".encode()

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Return a digest of the inside images' and the draw."""
        return derived(self.base.fingerprint, self._facts)

    def __len__(self) -> int:
        return min(len(self.base), MOST)

    def read(self, row: int) -> bytes:
        """Return the raw pixels."""
        return self.load(row).tobytes()

    def load(self, row: int) -> np.ndarray:
        """Return one image, uint8 [S, S, 3]."""
        levels = self._make(self, row).mul(255).round_().clamp_(0, 255)
        return levels.to(torch.uint8).permute(1, 2, 0).numpy()

    def stamp(self) -> str:
        """Return a digest of the inside images' stamp and the draw."""
        return derived(self.base.stamp(), self._facts)

    def numbers(self, row: int, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1) of one row, [*shape] float32."""
        drawn = uniform(self.seed, 0, torch.tensor([row]), 0, _STREAM, int(np.prod(shape)))
        return drawn.view(shape)

    def inside(self, row: int) -> Tensor:
        """Return one of the inside images at the far set's size, [3, S, S] float32 in [0, 1]."""
        image = torch.from_numpy(self.base.load(row)).permute(2, 0, 1)[None]
        return resize_and_crop(image, self.side, None)[0].float() / 255

    def partner(self, row: int) -> int:
        """Return another row, the next in a random order; the same one only when it is alone."""
        return int(self._partners[row])


def _partners(n: int, seed: int) -> np.ndarray:
    order = epoch_order(n, seed, 0)
    partners = np.empty(n, dtype=np.int64)
    partners[order] = np.roll(order, -1)
    return partners


def _uniform_noise(far: FarSource, row: int) -> Tensor:
    return far.numbers(row, 3, far.side, far.side)


def _gaussian_noise(far: FarSource, row: int) -> Tensor:
    """Draw N(0.5, 0.25 squared), cut to [0, 1]."""
    return torch.special.ndtri(far.numbers(row, 3, far.side, far.side)) * 0.25 + 0.5


def _constant(far: FarSource, row: int) -> Tensor:
    return far.numbers(row, 3, 1, 1).expand(3, far.side, far.side)


def _blurred_noise(far: FarSource, row: int) -> Tensor:
    """Blur uniform noise by a sixteenth of the side, then stretch it to the whole range."""
    sigma = max(0.5, far.side / 16)
    kernel = min(2 * round(3 * sigma) + 1, 2 * far.side - 1)
    noise = far.numbers(row, 1, 3, far.side, far.side)
    smooth = gaussian_blur(kernel, noise, torch.tensor([sigma]))[0]
    low, high = smooth.aminmax()
    return (smooth - low) / (high - low).clamp(min=1e-6)


def _interpolation(far: FarSource, row: int) -> Tensor:
    """Return the mean of two inside images (Du & Mordatch 2019; Grathwohl et al. 2020)."""
    return (far.inside(row) + far.inside(far.partner(row))) / 2


def _permuted_pixels(far: FarSource, row: int) -> Tensor:
    """Move the pixels of an inside image, each with its colour, to random places."""
    order = far.numbers(row, far.side**2).argsort(stable=True)
    return far.inside(row).flatten(1)[:, order].view(3, far.side, far.side)


def _jigsaw(far: FarSource, row: int) -> Tensor:
    """Move the tiles of an inside image to random places; what is left over at the edges stays."""
    image, tiles = far.inside(row).clone(), min(_TILES, far.side)
    step = far.side // tiles
    whole = image[:, : tiles * step, : tiles * step]
    cut = whole.unfold(1, step, step).unfold(2, step, step)  # [3, tiles, tiles, step, step]
    order = far.numbers(row, tiles**2).argsort(stable=True)
    moved = cut.flatten(1, 2)[:, order].view(3, tiles, tiles, step, step)
    image[:, : tiles * step, : tiles * step] = moved.transpose(2, 3).flatten(1, 2).flatten(2)
    return image


_MAKERS: dict[str, Callable[[FarSource, int], Tensor]] = {
    "uniform-noise": _uniform_noise,
    "gaussian-noise": _gaussian_noise,
    "constant": _constant,
    "blurred-noise": _blurred_noise,
    "interpolation": _interpolation,
    "permuted-pixels": _permuted_pixels,
    "jigsaw": _jigsaw,
}
# Scores are tuned against jigsaws, so they are no set to test on.
PSEUDO_OUTLIERS = "jigsaw"
KINDS = tuple(kind for kind in _MAKERS if kind != PSEUDO_OUTLIERS)
