"""Look at a data set before anything is built on it: how many images, their size and colour."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslcli.config.section import Column
from sslcli.data.sources.base import need
from sslcli.data.sources.open import Source, open_source
from sslcli.errors import DataError

_LOOKED_AT = 16  # images that stand for all
_IMAGES: tuple[Column, ...] = ("image",)


@dataclass(frozen=True)
class Look:
    """What a few images of a data set tell.

    Attributes:
        images: Training images.
        side: Their median shorter side in pixels.
        is_grey: Whether none of them has colour.
    """

    images: int
    side: int
    is_grey: bool


_KNOWN = {  # torchvision's, which may not be there yet
    "cifar10": Look(50_000, 32, is_grey=False),
    "cifar100": Look(50_000, 32, is_grey=False),
    "stl10": Look(5_000, 96, is_grey=False),
    "svhn": Look(73_257, 32, is_grey=False),
    "mnist": Look(60_000, 28, is_grey=True),
    "fashion-mnist": Look(60_000, 28, is_grey=True),
}


def look_at(spec: str, root: str | Path = "", reads: Collection[Column] = _IMAGES) -> Look:
    """Return what the training images of `spec` are like, from a few spread over all of them.

    Args:
        spec: What `--data` takes.
        root: Folder of torchvision's data sets.
        reads: What the data must hold, images among it.

    Raises:
        DataError: If the data is missing, lacks a column, or none of those looked at is readable.
    """
    if spec in _KNOWN and set(reads) == {"image"}:
        return _KNOWN[spec]
    source = open_source(spec, part="train", root=root)
    need(source, *sorted(reads))
    seen = _some_images(source)
    sides = sorted(min(image.shape[:2]) for image in seen)
    return Look(len(source), sides[len(sides) // 2], all(map(_has_no_colour, seen)))


def is_grey(source: Source) -> bool:
    """Say whether none of a few images of a source has colour.

    Raises:
        DataError: If none of those looked at is readable.
    """
    return all(map(_has_no_colour, _some_images(source)))


def _some_images(source: Source) -> list[np.ndarray]:
    """Return the readable ones of a few images spread over a source, at least one."""
    need(source, "image")
    rows = range(0, len(source), max(1, len(source) // _LOOKED_AT))
    seen: list[np.ndarray] = []
    for row in rows:
        try:
            seen.append(source.load(row))
        except DataError:
            continue  # training counts and names those
    if not seen:
        what, hint = f"none of {len(rows)} images tried is readable", "check the data"
        raise DataError(what, source.name, hint)
    return seen


def _has_no_colour(image: np.ndarray) -> bool:
    """Say whether red, green and blue are the same everywhere; uint8 [H, W, 3]."""
    return bool((image == image[..., :1]).all())
