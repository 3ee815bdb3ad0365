"""The steps from an image file to the input of a network, as facts and as Python code."""

from typing import Any

from sslcli.config.pixels import Pixels

_DECODING = "8-bit RGB, turned as its EXIF says, alpha laid over white, 16 bits scaled to 8"


def described(pixels: Pixels) -> dict[str, Any]:
    """Return every step, in the order of execution, for the file's metadata."""
    return {
        "decode": _DECODING,
        "resize": {
            "shorter_side": pixels.shorter_side,
            "longer_side": "in proportion, rounded down",
            "interpolation": pixels.interpolation,
            "antialias": True,
            "rounded_to_8_bits": True,
        },
        "crop": {"size": [pixels.image_size, pixels.image_size], "at": "centre"},
        "range": [0.0, 1.0],
        "mean": pixels.mean,
        "std": pixels.std,
        "layout": "[batch, 3, height, width], float32",
    }


def lines(pixels: Pixels) -> tuple[str, ...]:
    """Return Python that does the same to a photo with Pillow and torchvision alone."""
    mean, std = list(pixels.mean), list(pixels.std)
    return (
        f"# an image is {_DECODING}",
        "import torchvision.transforms.v2.functional as F",
        "from PIL import Image, ImageOps",
        'image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")',
        "image = F.resize(F.pil_to_tensor(image), "
        f"{pixels.shorter_side}, F.InterpolationMode.{pixels.interpolation.upper()}, "
        "antialias=True)  # the shorter side",
        f"image = F.center_crop(image, {pixels.image_size})",
        f"images = F.normalize(image[None] / 255, {mean}, {std})  "
        f"# [1, 3, {pixels.image_size}, {pixels.image_size}]",
    )
