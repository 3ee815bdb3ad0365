"""The steps from an image file to the input of a network, as facts and as Python code."""

from typing import Any

from sslcli.config.pixels import Pixels

_DECODING = "8-bit RGB, turned as its EXIF says, alpha laid over white, 16 bits scaled to 8"


_UNSCALED = {"space": "rgb", "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def described(pixels: Pixels, *, inside: bool = False) -> dict[str, Any]:
    """Return every step, in the order of execution, for the file's metadata.

    Args:
        pixels: How the encoder's input is made.
        inside: Whether the file converts and normalises by itself.
    """
    scaled = {"space": pixels.space, "mean": pixels.mean, "std": pixels.std}
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
        **(_UNSCALED if inside else scaled),
        "layout": "[batch, 3, height, width], float32",
        **({"inside_the_file": scaled} if inside else {}),
    }


def lines(pixels: Pixels, *, inside: bool = False) -> tuple[str, ...]:
    """Return Python that does the same to a photo with Pillow and torchvision.

    Another space than RGB needs scikit-image too, unless the file converts.
    """
    return (
        f"# an image is {_DECODING}",
        "import torchvision.transforms.v2.functional as F",
        "from PIL import Image, ImageOps",
        'image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")',
        "image = F.resize(F.pil_to_tensor(image), "
        f"{pixels.shorter_side}, F.InterpolationMode.{pixels.interpolation.upper()}, "
        "antialias=True)  # the shorter side",
        f"image = F.center_crop(image, {pixels.image_size})",
        *_scaling(pixels, inside=inside),
    )


def _scaling(pixels: Pixels, *, inside: bool) -> tuple[str, ...]:
    """Return the lines from 8 bits to what the network takes."""
    mean, std = list(pixels.mean), list(pixels.std)
    shape = f"  # [1, 3, {pixels.image_size}, {pixels.image_size}]"
    if inside:
        return (f"images = image[None] / 255{shape}; {pixels.space} is made inside the file",)
    if pixels.space == "rgb":
        return (f"images = F.normalize(image[None] / 255, {mean}, {std}){shape}",)
    convert = f"skimage.color.rgb2{pixels.space}(image.permute(1, 2, 0).numpy())"
    return (
        "import skimage.color, torch",
        f"image = torch.from_numpy({convert}).permute(2, 0, 1).float()",
        f"images = F.normalize(image[None], {mean}, {std}){shape}",
    )
