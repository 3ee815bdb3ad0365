"""Seed patches: small pieces of images, rich in edges, each of which becomes a class of its own.

Dosovitskiy et al. 2014, arXiv:1406.6909, section 2.1.
"""

from collections.abc import Callable

import numpy as np

from sslcli.config.data import SeedsConfig
from sslcli.data.sources.base import Source, derived
from sslcli.errors import ConfigError, DataError

CANDIDATES = 4  # places looked at in each image that is drawn
_IMAGES = 2  # images drawn for each seed that is wanted
Progress = Callable[[int, int], None] | None


class SeedPatches(Source):
    """Patches of another source's images, each with some of what surrounds it.

    Which patches is decided once by the seed: candidates are drawn uniformly, and kept with a
    probability in proportion to their mean squared gradient, without repetition, so that flat ones
    are rare. The surroundings let a later shift or rotation show image rather than border; what
    lies beyond the image is mirrored.

    Args:
        base: Images of any size.
        config: How many patches of which side.
        seed: Of the run.
        progress: Called with the images looked at, and their number.

    Raises:
        ConfigError: If there are too few images for so many seeds.
        DataError: If none of the images can be read, or all are smaller than a patch.
    """

    base: Source

    def __init__(
        self, base: Source, config: SeedsConfig, seed: int, progress: Progress = None
    ) -> None:
        if config.count > CANDIDATES * len(base):
            most = CANDIDATES * len(base)
            what = f"{config.count:,} seeds are more than {len(base):,} images give, {most:,}"
            raise ConfigError(what, "data.seeds.count", "write a smaller number, or null for all")
        self.base, self.config = base, config
        self.places = _choose(base, config, seed, progress)  # [N, 3]: row, top, left
        self.name = f"{len(self.places):,} seed patches of {base.name}"

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Return a digest of the images' and the patches."""
        return derived(self.base.fingerprint, self.places, repr(self.config).encode())

    def __len__(self) -> int:
        return len(self.places)

    def read(self, row: int) -> bytes:
        """Return the encoded image that a patch lies in."""
        return self.base.read(int(self.places[row, 0]))

    def load(self, row: int) -> np.ndarray:
        """Return a patch with its surroundings, uint8 [S, S, 3] with S = `config.surround`."""
        image, top, left = self.places[row]
        margin = self.config.surround - self.config.side
        before = margin // 2
        pixels = self.base.load(int(image))
        padded = np.pad(
            pixels, ((before, margin - before), (before, margin - before), (0, 0)), "symmetric"
        )
        side = self.config.surround
        return padded[top : top + side, left : left + side].copy()

    def describe(self, row: int) -> str:
        """Return where a patch comes from."""
        image, top, left = self.places[row]
        return f"{self.base.describe(int(image))}, patch at row {top}, column {left}"

    def stamp(self) -> str:
        """Return a digest of the images' stamp and the patches."""
        return derived(self.base.stamp(), self.places, repr(self.config).encode())


def _choose(base: Source, config: SeedsConfig, seed: int, progress: Progress) -> np.ndarray:
    """Return row, top and left of each seed, [N, 3] int64, sorted by row."""
    generator = np.random.default_rng(seed)
    wanted = min(len(base), max(1, _IMAGES * config.count))
    rows = np.sort(generator.permutation(len(base))[:wanted])
    places, energies = [], []
    for done, row in enumerate(rows, 1):
        if progress:
            progress(done, len(rows))
        try:
            image = base.load(int(row))
        except DataError:
            continue  # the loader counts and names what it cannot read
        room = np.array(image.shape[:2]) - config.side + 1
        if room.min() < 1:
            continue
        corners = np.unique(generator.integers(0, room, (CANDIDATES, 2)), axis=0)
        for top, left in corners:
            patch = image[top : top + config.side, left : left + config.side]
            places.append((row, top, left))
            energies.append(gradient_energy(patch))
    if len(places) < config.count:
        what = f"only {len(places):,} patches of {config.side} pixels can be cut"
        raise DataError(what, base.name, "write a smaller data.seeds.count or data.seeds.side")
    chosen = weighted_choice(np.array(energies), config.count, generator)
    return np.array(places, dtype=np.int64)[chosen]


def gradient_energy(patch: np.ndarray) -> float:
    """Return the mean squared gradient magnitude of a patch, uint8 [S, S, 3], in grey levels."""
    grey = patch.mean(axis=2)
    down, across = np.gradient(grey)
    return float((down**2 + across**2).mean())


def weighted_choice(weights: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw places without repetition, each with a probability in proportion to its weight.

    Efraimidis & Spirakis 2006: the largest of u^(1 / weight). What weighs nothing comes last.

    Args:
        weights: At least 0, [M].
        count: How many, at most M.
        generator: Of the u.

    Returns:
        Ascending places, [count].
    """
    tiny = np.finfo(np.float64).tiny
    keys = np.log(generator.random(len(weights)).clip(min=tiny)) / weights.clip(min=1e-12)
    return np.sort(np.argsort(keys)[len(weights) - count :])
