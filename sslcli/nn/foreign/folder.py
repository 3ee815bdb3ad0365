"""Read the config files of a Hugging Face folder: the network, and what it takes."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslcli.config.architectures import VITS
from sslcli.config.encoder import EncoderConfig
from sslcli.errors import CheckpointError
from sslcli.nn.foreign.sentences import KINDS, described_encoder, read_out_of
from sslcli.nn.foreign.towers import DescribedTowers, described_towers

CLIP = "clip"  # transformers' name of CLIPModel
_CLIP_WIDTH = {"vision_config": 768, "text_config": 512}  # where its config says none
CONFIG, PROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"
_FILTERS = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}


@dataclass(frozen=True)
class Described:
    """The facts in a folder's config files.

    Attributes:
        package: "timm" or "transformers".
        encoder: The network; None when names and shapes tell.
        data: Fields of `DataConfig`.
        licence: Of the weights; empty when none is told.
        notes: Differences from that package that the user should know.
        max_length: Most tokens of a text; None when the folder does not say.
        towers: Both networks, of a folder that holds two.
    """

    package: str
    encoder: EncoderConfig | None
    data: Mapping[str, Any]
    licence: str
    notes: tuple[str, ...] = field(default=())
    max_length: int | None = None
    towers: DescribedTowers | None = None


def described(folder: Path) -> Described | None:
    """Return what a folder's config files say; None for a path without config.json.

    Raises:
        CheckpointError: If they are damaged, or of a network that no encoder of ours is.
    """
    if not (folder / CONFIG).is_file():
        return None
    config, processor = _json(folder / CONFIG), _json(folder / PROCESSOR)
    try:
        if "architecture" in config:
            return _timm(config, folder)
        return _transformers(config, processor, folder)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        what = f"the config cannot be understood: {type(error).__name__}: {error}"
        raise CheckpointError(what, str(folder / CONFIG), "copy or download it again") from error


def _json(file: Path) -> dict[str, Any]:
    """Return a file's object; an empty one without the file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (ValueError, OSError) as error:
        what = f"the file is no JSON: {error}"
        raise CheckpointError(what, str(file), "copy or download it again") from error
    if not isinstance(found, dict):
        raise CheckpointError("the file holds no JSON object", str(file), "download it again")
    return found


def _timm(config: Mapping[str, Any], folder: Path) -> Described:
    """Read timm's layout; older folders have the fields of pretrained_cfg at the top."""
    known = config.get("pretrained_cfg", config)
    size = int(known["input_size"][-1])
    resize = math.floor(size / float(known.get("crop_pct", 1.0)))
    notes = []
    if (mode := known.get("crop_mode", "center")) != "center":
        notes.append(f"timm crops by {mode!r} for this model; here the centre is cut")
    data = {
        "image_size": size,
        "resize": resize,
        "mean": tuple(known["mean"]),
        "std": tuple(known["std"]),
        "interpolation": _FILTERS.get(known.get("interpolation", "bilinear"), "bilinear"),
    }
    encoder = EncoderConfig(name=f"timm:{config['architecture']}")
    licence = str(known.get("license") or _licence(folder))
    return Described("timm", encoder, data, licence, tuple(notes))


def _transformers(
    config: Mapping[str, Any], processor: Mapping[str, Any], folder: Path
) -> Described:
    kind = config.get("model_type")
    if kind == CLIP:
        return _clip(config, processor, folder)
    if kind not in _NETWORKS:
        what = f"no encoder of ours is a {kind!r} of transformers"
        hint = f"these are: {', '.join((*_NETWORKS, CLIP))}; "
        hint += "and any model of timm in timm's own layout"
        raise CheckpointError(what, str(folder / CONFIG), hint)
    encoder, wanted, notes = _NETWORKS[kind](config)
    _check(config, wanted, folder)
    if kind in KINDS:
        assert encoder is not None
        fields, length, remarks = read_out_of(folder)
        encoder = encoder.model_copy(update=fields)
        notes = (*notes, *remarks)
        return Described("transformers", encoder, {}, _licence(folder), notes, length)
    data, remarks = _processed(processor, int(config.get("image_size", 224)))
    return Described("transformers", encoder, data, _licence(folder), (*notes, *remarks))


def _clip(config: Mapping[str, Any], processor: Mapping[str, Any], folder: Path) -> Described:
    """Read the folder of a CLIPModel, which holds two towers."""
    towers = described_towers(config)
    wanted = {"num_channels": 3, "layer_norm_eps": 1e-5, "attention_dropout": 0.0}
    for part in ("vision_config", "text_config"):
        known = config.get(part) or {}
        width = known.get("hidden_size", _CLIP_WIDTH[part])
        _check(known, wanted | {"intermediate_size": 4 * width}, folder)
    side = int((config.get("vision_config") or {}).get("image_size", 224))
    data, remarks = _processed(processor, side)
    encoder = towers.encoder
    return Described(
        "transformers", encoder, data, _licence(folder), remarks, towers.text_encoder.max_positions,
        towers,
    )  # fmt: skip


def _check(config: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Raise CheckpointError if a setting is not as an encoder of ours has it."""
    for name, value in wanted.items():
        if (said := config.get(name, value)) != value:
            what = f"{name} is {said!r} in this model; ours has {value!r}"
            raise CheckpointError(what, str(folder / CONFIG), "use another model")


_Network = tuple[EncoderConfig | None, dict[str, Any], tuple[str, ...]]


def _vit(config: Mapping[str, Any]) -> _Network:
    """Return a vision transformer, the settings that it needs, and remarks."""
    depth, width = int(config["num_hidden_layers"]), int(config["hidden_size"])
    heads = int(config["num_attention_heads"])
    known = (name for name, size in VITS.items() if tuple(size) == (depth, width, heads))
    encoder = EncoderConfig(
        name=next(known, f"vit-{depth}-{width}-{heads}"), patch_size=int(config["patch_size"])
    )
    wanted = {
        "hidden_act": "gelu",
        "qkv_bias": True,
        "intermediate_size": 4 * width,
        "num_channels": 3,
    }
    eps = float(config.get("layer_norm_eps", 1e-12))
    note = (
        f"layer_norm_eps is {eps:g} in this model and 1e-06 here, as in the codes of timm and DINO"
    )
    return encoder, wanted, () if math.isclose(eps, 1e-6) else (note,)


def _resnet(config: Mapping[str, Any]) -> _Network:
    """Return nothing of a ResNet but its settings: names and shapes tell which it is."""
    wanted = {"hidden_act": "relu", "downsample_in_first_stage": False, "num_channels": 3}
    return None, wanted | {"downsample_in_bottleneck": False}, ()


_NETWORKS = {"vit": _vit, "resnet": _resnet, **dict.fromkeys(KINDS, described_encoder)}


def _processed(
    processor: Mapping[str, Any], image_size: int
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields of the data of an image processor, and remarks."""
    if not processor:
        return {}, (f"there is no {PROCESSOR}: statistics and size are the preset's",)
    size, crop = processor.get("size", image_size), processor.get("crop_size", image_size)
    side = crop.get("height", image_size) if isinstance(crop, Mapping) else int(crop)
    fraction = processor.get("crop_pct")
    notes: tuple[str, ...] = ()
    if isinstance(size, Mapping) and "shortest_edge" in size:
        shorter = int(size["shortest_edge"])
        if fraction:  # ConvNextImageProcessor's: the crop's side is shortest_edge
            side, shorter = shorter, int(shorter / float(fraction))
    else:
        shorter = side = int(size.get("height", side) if isinstance(size, Mapping) else size)
        notes = ("transformers squeezes images into a square here; we cut the centre of one",)
    data = {
        "image_size": side,
        "resize": max(side, shorter),
        "interpolation": _FILTERS.get(processor.get("resample", 2), "bilinear"),
    }
    if processor.get("do_normalize", True):
        data |= {"mean": tuple(processor["image_mean"]), "std": tuple(processor["image_std"])}
    else:
        data |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return data, notes


def _licence(folder: Path) -> str:
    """Return the licence that the head of a folder's README names."""
    card = folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    head = re.match(r"---\n(.*?)\n---", text, re.S)
    found = re.search(r"^license: *(\S+)", head[1], re.M) if head else None
    return found[1] if found else ""
