"""Tell from names and shapes which encoder of our table a file's network is."""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from sslcli.config.architectures import RESNETS, VITS, cifar_depth, vit_size, wide_size
from sslcli.config.encoder import EncoderConfig
from sslcli.errors import CheckpointError
from sslcli.nn.encoders import build_encoder
from sslcli.nn.foreign.fit import find_fit, names_below
from sslcli.nn.weights import check_weights, misfit_count

_BLOCK = re.compile(
    r"(.*?)(?:encoder\.stages\.)?(\w+)\.(?:layers\.)?(\d+)\.(?:layer\.0\.convolution|conv1)\.weight"
)
_TOKENS = re.compile(r"(.*?)(?:blocks|encoder\.layer)\.(\d+)\.(?:norm1|layernorm_before)\.weight")
_HEAD_WIDTH = 64  # of every vision transformer in VITS; MoCo v3's ViT-S alone has 32
_SIZE = 224  # pixels; a network without positions takes any size that its maps survive
_Fault = tuple[int, EncoderConfig, CheckpointError]  # the first: how many names are at fault


def image_size_of(stored: Mapping[str, Tensor], config: EncoderConfig) -> int | None:
    """Return the side of the images that a table of positions is for; None for other networks."""
    if not vit_size(config.name):
        return None
    tables = [x for name, x in stored.items() if re.search(r"pos(ition)?_embed(dings)?$", name)]
    grid = round((tables[0].shape[1] - 1) ** 0.5) if tables and tables[0].ndim == 3 else 0
    return grid * (config.patch_size or 16) or None


def called(config: EncoderConfig) -> str:
    """Return an encoder's name and the settings that are not the usual ones, for a person."""
    settings = config.model_dump(exclude_defaults=True, exclude={"name"})
    said = ", ".join(f"{name} = {value}" for name, value in settings.items())
    return f"{config.name} ({said})" if said else config.name


def guess_encoder(
    stored: Mapping[str, Tensor],
    where: str,
    key: str = "",
    *,
    name: str = "",
    image_size: int | None = None,
) -> EncoderConfig:
    """Return the encoder that a file's network is.

    Args:
        stored: What the file holds.
        where: The file, for the error.
        key: Look below this name alone.
        name: The encoder's, when it is known and its settings are not.
        image_size: Side of the images, where neither the network nor its table of positions says.

    Raises:
        CheckpointError: If none fits, with the one that fits best, or if several do.
        ConfigError: If there is no encoder of that name.
    """
    below = {n: stored[n] for n in names_below(stored, where, key)}
    fitting, faults = list[EncoderConfig](), list[_Fault]()
    for config in _candidates(below, name):
        size = image_size_of(below, config) or image_size or _SIZE
        with torch.device("meta"):
            encoder = build_encoder(config, size)
        weights = find_fit(encoder.state_dict(), stored, where, key).tensors(stored)
        try:
            check_weights(encoder, weights, where)
            fitting.append(config)
        except CheckpointError as fault:
            faults.append((misfit_count(encoder, weights), config, fault))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        named = ", ".join(config.name for config in fitting)
        hint = "name one with `encoder`"
        raise CheckpointError(f"several encoders fit this file: {named}", where, hint)
    raise _none(faults, stored, where)


def _none(faults: list[_Fault], stored: Mapping[str, Tensor], where: str) -> CheckpointError:
    """Return the error that names the encoder that fits best."""
    if not faults:
        what = f"no encoder of ours has such names: {', '.join([*stored][:3])}, ..."
        hint = 'name a model of timm with `encoder` "timm:NAME", or where the network lies by `key`'
        return CheckpointError(what, where, hint)
    _, config, fault = min(faults, key=lambda each: each[0])
    what = f"the nearest encoder is {called(config)}: {fault.what}"
    return CheckpointError(what, where, fault.hint)


def _candidates(stored: Mapping[str, Tensor], name: str) -> Iterator[EncoderConfig]:
    """Yield the encoders that the blocks of the file's networks may belong to, each once."""
    found = dict.fromkeys((*_residual(stored), *_transformers(stored)))
    named = [config for config in found if name in ("", config.name)]
    yield from named or ([EncoderConfig(name=name)] if name else found)


def _residual(stored: Mapping[str, Tensor]) -> Iterator[EncoderConfig]:
    """Yield the ResNets with as many blocks in each stage as a network in the file."""
    for stages, first in _stages(stored):
        kernel, channels = first.shape[-1], first.shape[0]
        if len(stages) == 4:
            stem = "cifar" if kernel == 3 else "imagenet"
            width = None if channels == 64 else channels
            for name, architecture in RESNETS.items():
                if architecture.layers == stages:
                    yield EncoderConfig(name=name, stem=stem, width=width)
        elif len({*stages}) == 1 and len(stages) == 3:
            yield from _cifar(stages[0], channels, stored)


def _cifar(blocks: int, channels: int, stored: Mapping[str, Tensor]) -> Iterator[EncoderConfig]:
    """Yield the CIFAR family's member with so many blocks a stage, and wide ResNets."""
    if cifar_depth(name := f"resnet{6 * blocks + 2}"):
        yield EncoderConfig(name=name, width=None if channels == 16 else channels)
    widths = {x.shape[0] // 16 for n, x in stored.items() if n.endswith("layer1.0.conv1.weight")}
    for widening in sorted(widths):
        if wide_size(name := f"wrn-{6 * blocks + 4}-{widening}"):
            yield EncoderConfig(name=name)
            # JEM's code, whose leaky ReLU no tensor shows
            yield EncoderConfig(name=name, norm="none", activation="leaky-relu")


def _stages(stored: Mapping[str, Tensor]) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Yield the blocks in each stage of each residual network, and its first convolution."""
    counts: dict[str, dict[str, int]] = {}
    for name in stored:
        if match := _BLOCK.fullmatch(name):
            stages = counts.setdefault(match[1], {})
            stages[match[2]] = max(stages.get(match[2], 0), int(match[3]) + 1)
    for root, stages in counts.items():
        for first in ("conv1.weight", "0.weight", "embedder.embedder.convolution.weight"):
            if (tensor := stored.get(root + first)) is not None and tensor.ndim == 4:
                yield tuple(stages[stage] for stage in sorted(stages)), tensor


def _transformers(stored: Mapping[str, Tensor]) -> Iterator[EncoderConfig]:
    """Yield the vision transformers with the depth and width of those in the file."""
    depths: dict[str, int] = {}
    for name in stored:
        if match := _TOKENS.fullmatch(name):
            depths[match[1]] = max(depths.get(match[1], 0), int(match[2]) + 1)
    for root, depth in depths.items():
        for cls, patch in (
            ("cls_token", "patch_embed.proj.weight"),
            ("embeddings.cls_token", "embeddings.patch_embeddings.projection.weight"),
        ):
            token, projection = stored.get(root + cls), stored.get(root + patch)
            if token is not None and projection is not None and projection.ndim == 4:
                yield _transformer(depth, token.shape[-1], projection.shape[-1], root)


def _transformer(depth: int, width: int, patch: int, root: str) -> EncoderConfig:
    """Return a vision transformer; the heads are the usual ones, but for MoCo v3's ViT-S."""
    is_moco = {*root.split(".")} & {"base_encoder", "momentum_encoder"}
    heads = 12 if is_moco else max(1, width // _HEAD_WIDTH)
    known = (name for name, size in VITS.items() if tuple(size) == (depth, width, heads))
    name = next(known, f"vit-{depth}-{width}-{heads}")
    positions = "sin-cos" if is_moco else "learned"
    return EncoderConfig(name=name, patch_size=patch, positions=positions)
