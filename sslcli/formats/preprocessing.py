"""The steps from an image file to the input of a network, as facts and as Python code."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslcli.formats.report import ExportMeta

_DECODING = "8-bit RGB, turned as its EXIF says, alpha laid over white, 16 bits scaled to 8"


def described(meta: "ExportMeta") -> dict[str, Any]:
    """Return every step, in the order of execution, for the file's metadata."""
    return {
        "decode": _DECODING,
        "resize": {
            "shorter_side": meta.resize or meta.image_size,
            "longer_side": "in proportion, rounded down",
            "interpolation": "bilinear",
            "antialias": True,
            "rounded_to_8_bits": True,
        },
        "crop": {"size": [meta.image_size, meta.image_size], "at": "centre"},
        "range": [0.0, 1.0],
        "mean": meta.mean,
        "std": meta.std,
        "layout": "[batch, 3, height, width], float32",
    }


def lines(meta: "ExportMeta") -> tuple[str, ...]:
    """Return Python that does the same to a photo with Pillow and torchvision alone."""
    mean, std = list(meta.mean), list(meta.std)
    return (
        f"# an image is {_DECODING}",
        "import torchvision.transforms.v2.functional as F",
        "from PIL import Image, ImageOps",
        'image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")',
        "image = F.resize(F.pil_to_tensor(image), "
        f"{meta.resize or meta.image_size}, antialias=True)  # the shorter side, bilinear",
        f"image = F.center_crop(image, {meta.image_size})",
        f"images = F.normalize(image[None] / 255, {mean}, {std})  "
        f"# [1, 3, {meta.image_size}, {meta.image_size}]",
    )
