"""The table of encoder families, and checks of their settings, without torch for the help."""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

from sslcli.config.schema import EncoderConfig
from sslcli.config.section import Column
from sslcli.errors import ConfigError

Faults = Callable[[EncoderConfig, int], Iterator[ConfigError]]


class Architecture(NamedTuple):
    """A residual network of He et al. 2016 (arXiv:1512.03385) as torchvision spells it.

    Attributes:
        layers: Blocks in each of the four stages.
        bottleneck: Blocks of three convolutions rather than two.
        groups: Groups of the 3x3 convolution (ResNeXt).
        base_width: Channels of the 3x3 convolution in a group, for 64 channels of the stage.
    """

    layers: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    base_width: int = 64


class TransformerSize(NamedTuple):
    """A vision transformer's blocks, entries of a token, and heads of its attention."""

    depth: int
    width: int
    heads: int


# resnet10 is this project's, for small machines: torchvision's class with one block a stage.
RESNETS = {
    "resnet10": Architecture((1, 1, 1, 1), bottleneck=False),
    "resnet18": Architecture((2, 2, 2, 2), bottleneck=False),
    "resnet34": Architecture((3, 4, 6, 3), bottleneck=False),
    "resnet50": Architecture((3, 4, 6, 3)),
    "resnet101": Architecture((3, 4, 23, 3)),
    "resnet152": Architecture((3, 8, 36, 3)),
    "wide_resnet50_2": Architecture((3, 4, 6, 3), base_width=128),
    "wide_resnet101_2": Architecture((3, 4, 23, 3), base_width=128),
    "resnext50_32x4d": Architecture((3, 4, 6, 3), groups=32, base_width=4),
    "resnext101_32x8d": Architecture((3, 4, 23, 3), groups=32, base_width=8),
    "resnext101_64x4d": Architecture((3, 4, 23, 3), groups=64, base_width=4),
}
# Du & Mordatch 2019 (arXiv:1903.08689): blocks in each stage, and each stage's share of the width.
IGEBM = {
    "igebm-small": ((2, 1), (2, 2), (2, 2)),
    "igebm-large": ((3, 1), (3, 2), (3, 4)),
}
# DeiT's (Touvron et al. 2021, arXiv:2012.12877, table 1); MoCo v3's ViT-S is vit-12-384-12.
VITS = {
    "vit-tiny": TransformerSize(12, 192, 3),
    "vit-small": TransformerSize(12, 384, 6),
    "vit-base": TransformerSize(12, 768, 12),
}
# Dosovitskiy et al. 2014 (arXiv:1406.6909), section 3.1: filters, then the fully connected layer.
EXEMPLAR = {
    "exemplar-small": (64, 64, 128),
    "exemplar-medium": (64, 128, 256, 512),
    "exemplar-large": (92, 256, 512, 1024),
}
_STEM = ("stem", "stem_stride", "stem_padding")
_RESNET = (*_STEM, "width", "zero_init_residual")
_SHARED = {"name", "normalize_features", "weights"}  # settings that every family has
_CIFAR_FAMILY = tuple(f"resnet{depth}" for depth in (8, 14, 20, 26, 32, 38, 44, 56, 110))


def encoder_names() -> tuple[str, ...]:
    """Return the names worth listing; families have more members, and timm more models."""
    wide = ("wrn-28-10", "wrn-40-2")
    return (*RESNETS, *_CIFAR_FAMILY, *wide, *IGEBM, *VITS, *EXEMPLAR, "timm:NAME")


def cifar_depth(name: str) -> int | None:
    """Return the depth 6n + 2 of a CIFAR-family name, or None for another name.

    The deepest is the paper's 1202. The depths 50 and 152 mean ImageNet's networks of these names.
    """
    match = re.fullmatch(r"resnet([1-9]\d{0,3})", name)
    if not match or name in RESNETS:
        return None
    depth = int(match[1])
    return depth if 8 <= depth <= 1202 and depth % 6 == 2 else None


def wide_size(name: str) -> tuple[int, int] | None:
    """Return depth 6n + 4 and widening of a wide ResNet's name, or None for another name."""
    match = re.fullmatch(r"wrn-([1-9]\d{0,2})-([1-9]\d?)", name)
    if not match:
        return None
    depth, widening = int(match[1]), int(match[2])
    return (depth, widening) if depth >= 10 and depth % 6 == 4 else None


def vit_size(name: str) -> TransformerSize | None:
    """Return the size that a vision transformer's name stands for, or None for another name."""
    match = re.fullmatch(r"vit-([1-9]\d?)-([1-9]\d{0,3})-([1-9]\d?)", name)
    return TransformerSize(*map(int, match.groups())) if match else VITS.get(name)


def patch_side(config: EncoderConfig) -> int:
    """Return the side of a vision transformer's patches."""
    return config.patch_size or 16


def map_sizes(config: EncoderConfig, image_size: int) -> list[int]:
    """Return the side of the feature map after the stem and after each stage of a ResNet."""
    if config.name in RESNETS and config.stem == "imagenet":
        sizes = [_half(_half(image_size))]  # 7x7 stride 2, then a 3x3 max-pool stride 2
    else:
        sizes = [(image_size + 2 * config.stem_padding - 3) // config.stem_stride + 1]
    sizes.append(sizes[-1])
    for _ in range(3 if config.name in RESNETS else 2):
        sizes.append(_half(sizes[-1]))
    return sizes


def family_of(config: EncoderConfig) -> "Family":
    """Return the family that an encoder's name belongs to.

    Raises:
        ConfigError: If it belongs to none, with the nearest names.
    """
    for family in FAMILIES:
        if family.matches(config.name):
            return family
    raise _unknown(config.name)


def check_encoder(config: EncoderConfig, image_size: int) -> None:
    """Raise one ConfigError that carries everything wrong with an encoder's settings.

    Names of timm's models are checked when the network is built, since that needs timm.
    """
    family = family_of(config)
    unused = [name for name in EncoderConfig.model_fields if name not in {*_SHARED, *family.fields}]
    faults = [*_unused(config, unused), *family.faults(config, image_size)]
    if faults:
        first, *others = faults
        raise ConfigError(first.what, first.where, first.hint, others)


def _unknown(name: str) -> ConfigError:
    nearest = get_close_matches(name, encoder_names(), n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(nearest)}" if nearest else f"one of {', '.join(encoder_names())}"
    hint += '; models of timm are written "timm:NAME"'
    return ConfigError(f"no encoder is called {name!r}", "encoder.name", hint)


def _unused(config: EncoderConfig, fields: Iterable[str]) -> Iterator[ConfigError]:
    for field in fields:
        if getattr(config, field) != EncoderConfig.model_fields[field].default:
            yield _unused_field(config, field)


def _unused_field(config: EncoderConfig, field: str) -> ConfigError:
    is_stem = config.name in RESNETS and field in _STEM
    kind = "a timm model" if config.name.startswith("timm:") else "this network"
    has = "the ImageNet stem" if is_stem else kind
    hint = 'leave it out, or set encoder.stem = "cifar"' if is_stem else "leave it out"
    return ConfigError(f"{has} ({config.name}) has no {field}", f"encoder.{field}", hint)


def _no_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    yield from ()


def _token_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    size = vit_size(config.name)
    assert size is not None
    if size.width % size.heads:
        hint = "write vit-DEPTH-WIDTH-HEADS with a width that the heads divide"
        what = f"{size.heads} heads cannot share {size.width} entries"
        yield ConfigError(what, "encoder.name", hint)
    if config.positions == "sin-cos" and size.width % 4:
        what = f"a sin-cos table needs a width divisible by 4, not {size.width}"
        yield ConfigError(what, "encoder.positions", 'use another width, or "learned"')
    if image_size % (patch := patch_side(config)):
        what = f"{image_size}-pixel images do not divide into patches of {patch} pixels"
        hint = f"choose a divisor of {image_size}, or another data.image_size"
        yield ConfigError(what, "encoder.patch_size", hint)


def _least(least: int) -> "Faults":
    """Return a check that images have so many pixels a side."""

    def faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
        if image_size < least:
            what = f"{image_size}-pixel images are too small for {config.name}: its maps vanish"
            yield ConfigError(what, "data.image_size", f"use images of at least {least} pixels")

    return faults


def _resnet_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    if config.name in RESNETS and config.stem == "imagenet":
        yield from _unused(config, ("stem_stride", "stem_padding"))
    yield from _width_faults(config)
    yield from _size_faults(config, image_size)


def _width_faults(config: EncoderConfig) -> Iterator[ConfigError]:
    base = RESNETS[config.name].base_width if config.name in RESNETS else 64
    if config.width and config.width * base % 64:
        hint = f"use a multiple of {64 // base}"
        yield ConfigError(f"{config.name} cannot be {config.width} wide", "encoder.width", hint)


def _size_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    sizes = map_sizes(config, image_size)
    if min(sizes[:-1]) <= 1:  # the last stage would stride over a single pixel
        maps = " -> ".join(map(str, (image_size, *sizes)))
        hint = f"use images of at least {_smallest(config)} pixels"
        if config.stem == "imagenet" and config.name in RESNETS:
            hint += ', or encoder.stem = "cifar"'
        elif config.stem_stride == 2:
            hint += ", or encoder.stem_stride = 1"
        what = (
            f"{image_size}-pixel images are too small for {config.name}: its maps vanish ({maps})"
        )
        yield ConfigError(what, "data.image_size", hint)


def _smallest(config: EncoderConfig) -> int:
    return next(size for size in range(1, 65) if min(map_sizes(config, size)[:-1]) > 1)


def _half(size: int) -> int:
    """Return the size after a convolution or pool of stride 2 padded to keep the centre."""
    return (size - 1) // 2 + 1


class Family(NamedTuple):
    """A kind of network.

    Attributes:
        matches: Tells whether a name is one of the family's.
        build: "module:function" that builds it from the config and the side of the images.
        fields: The settings it has, besides those that every family has.
        faults: What else is wrong with the settings, given the side of the images.
        reads: The column of the data that it maps to features.
    """

    matches: Callable[[str], object]
    build: str
    fields: tuple[str, ...] = ()
    faults: Faults = _no_faults
    reads: Column = "image"


FAMILIES = [
    Family(lambda name: name.startswith("timm:"), "sslcli.nn.encoders:build_timm"),
    Family(
        vit_size,
        "sslcli.nn.encoders:build_transformer",
        ("patch_size", "positions", "init", "drop_path"),
        _token_faults,
    ),
    Family(
        wide_size,
        "sslcli.nn.encoders:build_wide_resnet",
        ("norm", "activation", "dropout"),
        _least(4),
    ),
    Family(
        IGEBM.__contains__,
        "sslcli.nn.encoders:build_energy_resnet",
        ("width", "activation", "dropout", "conv_bias", "form"),
        _least(8),
    ),
    Family(
        EXEMPLAR.__contains__, "sslcli.nn.encoders:build_exemplar_net", ("dropout",), _least(32)
    ),
    Family(RESNETS.__contains__, "sslcli.nn.encoders:build_resnet", _RESNET, _resnet_faults),
    Family(cifar_depth, "sslcli.nn.encoders:build_cifar_resnet", _RESNET, _resnet_faults),
]
