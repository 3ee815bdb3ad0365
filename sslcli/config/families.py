"""The table of encoder families, and checks of their settings, without torch for the help."""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

from sslcli.config.architectures import (
    ALEXNET,
    AMDIM_WIDENING,
    CLIP_RESNETS,
    CPC_RESNETS,
    EXEMPLAR,
    IGEBM,
    RESNETS,
    amdim_size,
    amdim_width,
    bert_size,
    cifar_depth,
    clip_size,
    cpc_wide_size,
    encoder_names,
    map_sizes,
    patch_side,
    vit_size,
    wide_size,
)
from sslcli.config.encoder import EncoderConfig, fitting_sizes
from sslcli.config.section import Column
from sslcli.errors import ConfigError

Faults = Callable[[EncoderConfig, int], Iterator[ConfigError]]
_STEM = ("stem", "stem_stride", "stem_padding")
_RESNET = (*_STEM, "width", "zero_init_residual", "split")
_SHARED = {"name", "normalize_features", "weights"}  # settings that every family has


def family_of(config: EncoderConfig) -> "Family":
    """Return the family that an encoder's name belongs to.

    Raises:
        ConfigError: If it belongs to none, with the nearest names.
    """
    for family in FAMILIES:
        if family.matches(config.name):
            return family
    raise _unknown(config.name)


def settings_of(name: str) -> frozenset[str] | None:
    """Return the fields of the section `encoder` that a network has; None of an unknown name."""
    family = next((each for each in FAMILIES if each.matches(name)), None)
    return frozenset({*_SHARED, *family.fields}) if family else None


def check_encoder(config: EncoderConfig, image_size: int) -> None:
    """Raise one ConfigError that carries everything wrong with an encoder's settings.

    Names of timm's models are checked when the network is built, since that needs timm.
    """
    family, settings = family_of(config), settings_of(config.name) or ()
    unused = [name for name in EncoderConfig.model_fields if name not in settings]
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
    has_stems = config.name in RESNETS or config.name in CPC_RESNETS
    is_stem = has_stems and field in (*_STEM, "stem_kernel")
    kind = "a timm model" if config.name.startswith("timm:") else "this network"
    has = "the ImageNet stem" if is_stem else kind
    hint = 'leave it out, or set encoder.stem = "cifar"' if is_stem else "leave it out"
    return ConfigError(f"{has} ({config.name}) has no {field}", f"encoder.{field}", hint)


def _no_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    yield from ()


def _head_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    match = re.fullmatch(r"(.+)-\d+-(\d+)-(\d+)", config.name)
    if match and int(match[2]) % int(match[3]):
        hint = f"write {match[1]}-DEPTH-WIDTH-HEADS with a width that the heads divide"
        what = f"{match[3]} heads cannot share {match[2]} entries"
        yield ConfigError(what, "encoder.name", hint)


def _token_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    yield from _head_faults(config, image_size)
    size = vit_size(config.name)
    if size and config.positions == "sin-cos" and size.width % 4:
        what = f"a sin-cos table needs a width divisible by 4, not {size.width}"
        yield ConfigError(what, "encoder.positions", 'use another width, or "learned"')
    if image_size % (patch := patch_side(config)):
        what = f"{image_size}-pixel images do not divide into patches of {patch} pixels"
        hint = f"choose a divisor of {image_size}, or another data.image_size"
        yield ConfigError(what, "encoder.patch_size", hint)


def _pool_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    if config.width and config.width % 2:
        what = f"{config.name} cannot be {config.width} wide"
        yield ConfigError(what, "encoder.width", "use an even number")
    if image_size % 32 or not image_size:
        what = f"{config.name} takes images of a multiple of 32 pixels, not of {image_size}"
        yield ConfigError(what, "data.image_size", "choose 32, 64, ... or 224")


def _amdim_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    size = amdim_size(config.name)
    assert size is not None
    if config.norm == "layer":
        what = f"{config.name} has no layer norm"
        yield ConfigError(what, "encoder.norm", 'set it to "none", as published, or "batch"')
    if (widening := AMDIM_WIDENING.get(image_size)) is None:
        what = f"{config.name} has no form for {image_size}-pixel images"
        yield ConfigError(what, "data.image_size", "use 32, 64 or 128 pixels")
    elif size.dim < (channels := widening * amdim_width(config)):
        what = f"{config.name} gives {size.dim} numbers, fewer than the {channels} channels before"
        narrow = size.dim // widening
        hint = f"write amdim-{channels}-{size.depth}"
        hint += f", or set encoder.width to {narrow} or less" if narrow else ""
        yield ConfigError(f"{what} them ({widening} times the width)", "encoder.name", hint)


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


def _patch_faults(config: EncoderConfig, image_size: int) -> Iterator[ConfigError]:
    for field, value in (("patch_size", config.patch_size), ("patch_stride", config.patch_stride)):
        if value is None:
            hint = "set both, such as 8 and 4 for images of 32 pixels"
            yield ConfigError(f"{config.name} needs a {field}", f"encoder.{field}", hint)
    if config.patch_size is None or config.patch_stride is None:
        return
    if config.patch_stride > config.patch_size:
        what = f"patches of {config.patch_size} pixels every {config.patch_stride} leave gaps"
        yield ConfigError(what, "encoder.patch_stride", f"use {config.patch_size} or less")
    if fits := fitting_sizes(image_size, config.patch_size, config.patch_stride):
        what = (
            f"patches of {config.patch_size} pixels every {config.patch_stride} do not cover "
            f"images of {image_size} evenly"
        )
        yield ConfigError(what, "data.image_size", f"use {fits[0]} or {fits[1]} pixels")
    if config.name in CPC_RESNETS and config.stem == "imagenet":
        yield from _unused(config, ("stem_kernel", "stem_stride"))


class Family(NamedTuple):
    """A kind of network.

    Attributes:
        matches: Tells whether a name is one of the family's.
        build: Builds it from the config and the side of the images: a function, or the
            "module:function" of one that needs torch.
        fields: The settings it has, besides those that every family has.
        faults: What else is wrong with the settings, given the side of the images.
        reads: The column of the data that it maps to features.
    """

    matches: Callable[[str], object]
    build: str | Callable[[EncoderConfig, int], Any]
    fields: tuple[str, ...] = ()
    faults: Faults = _no_faults
    reads: Column = "image"


_CPC = ("patch_size", "patch_stride", "norm")

FAMILIES = [
    Family(lambda name: name.startswith("timm:"), "sslcli.nn.encoders:build_timm"),
    Family(
        vit_size,
        "sslcli.nn.encoders:build_transformer",
        ("patch_size", "positions", "init", "drop_path"),
        _token_faults,
    ),
    Family(
        bert_size,
        "sslcli.nn.encoders:build_bert",
        ("vocabulary", "max_positions", "dropout", "pooler"),
        _head_faults,
        reads="text",
    ),
    Family(
        partial(clip_size, kind="text"),
        "sslcli.nn.encoders:build_clip_text",
        ("vocabulary", "max_positions", "gelu"),
        _head_faults,
        reads="text",
    ),
    Family(
        partial(clip_size, kind="vit"),
        "sslcli.nn.encoders:build_clip_vit",
        ("patch_size", "gelu"),
        _token_faults,
    ),
    Family(
        CLIP_RESNETS.__contains__,
        "sslcli.nn.encoders:build_clip_resnet",
        ("width", "outputs"),
        _pool_faults,
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
    Family(
        (ALEXNET,).__contains__, "sslcli.nn.encoders:build_half_alexnet", ("split",), _least(63)
    ),
    Family(
        RESNETS.__contains__,
        "sslcli.nn.encoders:build_resnet",
        (*_RESNET, "stem_width"),
        _resnet_faults,
    ),
    Family(
        CPC_RESNETS.__contains__,
        "sslcli.nn.encoders:build_patch_encoder",
        (*_CPC, "stem", "stem_kernel", "stem_stride", "width"),
        _patch_faults,
    ),
    Family(cpc_wide_size, "sslcli.nn.encoders:build_patch_encoder", _CPC, _patch_faults),
    Family(amdim_size, "sslcli.nn.encoders:build_amdim", ("width", "norm"), _amdim_faults),
    Family(cifar_depth, "sslcli.nn.encoders:build_cifar_resnet", _RESNET, _resnet_faults),
]
