"""Decode the bytes of one image into uint8 RGB, whatever mode it was stored in."""

import io
import warnings

import numpy as np
from PIL import ExifTags, Image

from sslcli.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
            ".pbm", ".pnm", ".jp2", ".avif", ".jpe", ".jfif")  # fmt: skip
MAX_PIXELS = 2**30 // 12  # where Pillow begins to warn of decompression bombs: 256 MiB as RGB

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, where: str = "") -> np.ndarray:
    """Decode an image exactly: no draft mode, no tolerance for missing bytes.

    Sixteen bits are scaled to eight, alpha is laid over white, EXIF rotation is applied, and of an
    animation the first frame is taken.

    Args:
        data: The encoded file.
        where: Its name, for the error.

    Returns:
        uint8 RGB, [H, W, 3].

    Raises:
        DataError: If the bytes are no complete image of at most `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
            _refuse_bomb(image)
            image.load()
            return np.array(_to_rgb(_upright(image)))
    # Pillow's decoders raise nearly anything on damaged bytes: OSError, SyntaxError, struct.error
    except Exception as error:
        raise _unreadable(data, where, error) from error


def mode(data: bytes) -> str:
    """Return Pillow's name of the mode in which a readable image is stored."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
        return image.mode


def _refuse_bomb(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels exceed the limit of {MAX_PIXELS}")


def _upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Scale 16-bit integers, or floats in [0, 1], to uint8 with rounding."""
    white = 1.0 if values.dtype.kind == "f" else 65535.0
    if not (values.min() >= 0 and values.max() <= white):  # also refuses NaN
        raise ValueError(f"values leave the range [0, {white:g}] that has a known white")
    return np.round(values.astype(np.float64) * (255 / white)).astype(np.uint8)


def _over_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(canvas, image).convert("RGB")


def _unreadable(data: bytes, where: str, error: Exception) -> DataError:
    reason = str(error) if data else "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError) and data:
        reason = "the bytes are no known image format"
    hint = "replace the file or remove it; data.max_bad_fraction says how many may be bad"
    return DataError(f"the image is unreadable: {reason}", where, hint)
