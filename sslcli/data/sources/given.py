"""Images and sentences that a program hands over."""

import os
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from sslcli.config.section import Column
from sslcli.data.images import files
from sslcli.data.sources.base import Source, digest
from sslcli.data.sources.files import identity
from sslcli.data.sources.sentences import Sentences
from sslcli.errors import DataError, UsageError

GivenImage = str | os.PathLike[str] | Image.Image | np.ndarray
Images = GivenImage | Sequence[GivenImage]
_KINDS = "give paths, PIL images or uint8 arrays [height, width, 3] with values 0 to 255"


def given(rows: object, reads: Column, white_point: int = files.WHITE) -> Source:
    """Return what is at hand as a source: images, or sentences for an encoder that reads them.

    Raises:
        UsageError: If there is none, or one is of another kind.
    """
    if reads != "text":
        return GivenImages(rows, white_point)
    texts = [rows] if isinstance(rows, str) else list(rows) if isinstance(rows, Iterable) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise UsageError("these are no sentences", "images", "give a text, or a list of texts")
    return Sentences("the sentences given", texts)


class GivenImages(Source):
    """Images at hand, of any sizes.

    Args:
        images: One image, a sequence of them, or an array [N, H, W, 3].
        white_point: The value of sixteen bits that is white in encoded images.

    Raises:
        UsageError: If there is none, or one is of another kind or shape.
    """

    name = "the images given"

    def __init__(self, images: object, white_point: int = files.WHITE) -> None:
        self.images = [_checked(each, f"images[{row}]") for row, each in enumerate(_listed(images))]
        self.white_point = white_point

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Return a digest of the images as they are now; what was kept of others is not taken."""
        return digest(*(part for row in range(len(self)) for part in self._content(row)))

    def _content(self, row: int) -> tuple[bytes, bytes]:
        """Return shape and bytes of an image; nothing of one that cannot be read."""
        image = self.images[row]
        shape = None if isinstance(image, str | os.PathLike) else np.shape(self.load(row))
        try:
            content = self.read(row)
        except DataError:
            content = b""
        return f"{shape} {len(content)} ".encode(), content

    def read(self, row: int) -> bytes:
        """Return the file's bytes, or the pixels of what is no file."""
        image = self.images[row]
        if isinstance(image, str | os.PathLike):
            return files.read_file(os.fspath(image), "check the file and its rights")
        return self.load(row).tobytes()

    def load(self, row: int) -> np.ndarray:
        """Return one image, uint8 [H, W, 3]; a PIL image as its file would be decoded."""
        image = self.images[row]
        if isinstance(image, np.ndarray):
            return np.array(image)  # torch takes neither read-only arrays nor negative strides
        if isinstance(image, Image.Image):
            return files.pixels_of(image, self.describe(row), self.white_point)
        return super().load(row)

    def origins(self) -> np.ndarray:
        """Return where the bytes of each file lie; -1 of what is no file."""
        return np.array([_origin(image) for image in self.images], dtype=np.int64)

    def describe(self, row: int) -> str:
        """Return the path, or the position of what is no file."""
        image = self.images[row]
        return str(image) if isinstance(image, str | os.PathLike) else f"images[{row}]"


def _origin(image: GivenImage) -> tuple[int, int, int]:
    if isinstance(image, str | os.PathLike):
        device, inode = identity(os.fspath(image))[:2]
        return device, inode, min(device, inode, 0)
    return (-1,) * 3


def _listed(images: object) -> list[object]:
    is_array = isinstance(images, np.ndarray) and images.ndim != 4
    if is_array or isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if not isinstance(images, Iterable):
        raise UsageError(f"{type(images).__name__} is no image", "images", _KINDS)
    if not (found := list(images)):
        raise UsageError("there is no image", "images", _KINDS)
    return found


def _checked(image: object, where: str) -> GivenImage:
    if isinstance(image, str | os.PathLike | Image.Image):
        return image
    if not isinstance(image, np.ndarray):
        raise UsageError(f"{type(image).__name__} is no image", where, _KINDS)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        what = f"this is an array of {image.dtype}, {list(image.shape)}"
        raise UsageError(what, where, _KINDS)
    return image
