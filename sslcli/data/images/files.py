"""Decode the bytes of one image into uint8 RGB, whatever mode it was stored in."""

import io
import os
import stat
import warnings
from functools import cache

import numpy as np
from PIL import ExifTags, Image

from sslcli.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
            ".pbm", ".pnm", ".jp2", ".avif", ".jpe", ".jfif")  # fmt: skip
# Only these are opened: some other readers of Pillow start programs, such as Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
MAX_BYTES = 2**30  # more than an image of `MAX_PIXELS` takes, even uncompressed with 16 bits
MAX_PIXELS = 2**30 // 12  # where Pillow begins to warn of decompression bombs: 256 MiB as RGB
WHITE = 2**16 - 1  # the white of sixteen bits by default

# Reading a pipe without a writer would block; text is Windows', which has no such pipes.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_file(path: str, hint: str, what: str = "image") -> bytes:
    """Return the bytes of the file of an image, or of something else that is named.

    Raises:
        DataError: If it is missing, may not be read, is no file, or has over `MAX_BYTES`.
    """
    try:
        with open(os.open(path, _FLAGS), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
                return file.read()
            why = f"it has {status.st_size:,} bytes" if status.st_size else "it is no file"
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"the {what} cannot be read: {why}", path, hint) from error
    raise DataError(f"the {what} cannot be read: {why}", path, hint)


def decode(data: bytes, where: str = "", white: int = WHITE) -> np.ndarray:
    """Decode an image exactly: no draft mode, no tolerance for missing bytes.

    Sixteen bits are scaled to eight, alpha is laid over white, EXIF rotation is applied, and of an
    animation the first frame is taken.

    Args:
        data: The encoded file.
        where: Its name, for the error.
        white: The value of sixteen bits that is white: 4,095 where a camera gives twelve.

    Returns:
        uint8 RGB, [H, W, 3].

    Raises:
        DataError: If the bytes are no complete image of at most `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings(action="ignore"), _opened(data) as image:
            return _pixels(image, white)
    # Pillow's decoders raise nearly anything on damaged bytes: OSError, SyntaxError, struct.error
    except Exception as error:
        raise _unreadable(where, error, is_empty=not data) from error


def pixels_of(image: Image.Image, where: str = "", white: int = WHITE) -> np.ndarray:
    """Return the pixels of a PIL image as `decode` returns those of its file.

    Args:
        image: In any mode; it is loaded if it has not been.
        where: Its name, for the error.
        white: The value of sixteen bits that is white.

    Returns:
        uint8 RGB, [H, W, 3].

    Raises:
        DataError: If it cannot be loaded, or has more than `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return _pixels(image, white)
    except Exception as error:  # as in decode
        raise _unreadable(where, error) from error


def mode(data: bytes) -> str:
    """Return Pillow's name of the mode in which a readable image is stored."""
    with warnings.catch_warnings(action="ignore"), _opened(data) as image:
        return image.mode


def has_sixteen_bits(mode: str) -> bool:
    """Say whether Pillow's mode of this name keeps whole numbers of more than eight bits."""
    return mode == "I" or mode.startswith("I;16")


def brightest(data: bytes) -> int:
    """Return the largest value of a readable image of sixteen bits."""
    with warnings.catch_warnings(action="ignore"), _opened(data) as image:
        return int(np.asarray(image).max())


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=_FORMATS)


def _pixels(image: Image.Image, white: int) -> np.ndarray:
    _refuse_bomb(image)
    if white != WHITE:
        _refuse_lost_bits(image)
    image.load()
    return np.array(_to_rgb(_upright(image), white))


def _refuse_bomb(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels exceed the limit of {MAX_PIXELS}")


def _refuse_lost_bits(image: Image.Image) -> None:
    if ";16" in str(getattr(image, "tile", "")) and not has_sixteen_bits(image.mode):
        raise ValueError(
            "of sixteen bits a colour Pillow keeps the upper eight: scale its white to 65,535"
        )


def _upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, white: int) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or has_sixteen_bits(image.mode):
        return Image.fromarray(_to_bytes(np.asarray(image), white)).convert("RGB")
    if image.has_transparency_data:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _to_bytes(values: np.ndarray, white: int) -> np.ndarray:
    """Scale 16-bit integers up to `white`, or floats in [0, 1], to uint8 with rounding."""
    largest = 1.0 if values.dtype.kind == "f" else white
    if not (values.min() >= 0 and values.max() <= largest):  # also refuses NaN
        raise ValueError(f"values leave the range [0, {largest:.0f}] that has a known white")
    if values.dtype.kind == "f":
        return np.rint(values * values.dtype.type(255)).astype(np.uint8)
    return _eight_bits(white)[values]


@cache
def _eight_bits(white: int) -> np.ndarray:
    """Return the uint8 of each value up to `white`; looked up ten times faster than computed."""
    return ((np.arange(white + 1) * 255 + white // 2) // white).astype(np.uint8)


def _over_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(canvas, image).convert("RGB")


def _unreadable(where: str, error: Exception, *, is_empty: bool = False) -> DataError:
    reason = "the file is empty" if is_empty else str(error) or type(error).__name__
    if isinstance(error, Image.UnidentifiedImageError) and not is_empty:
        reason = "the bytes are no known image format"
    hint = "replace the file or remove it; data.max_bad_fraction says how many may be bad"
    return DataError(f"the image is unreadable: {reason}", where, hint)
