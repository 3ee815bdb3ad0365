"""Recognise the code that wrote a file by its names, and the preset that evaluates as it does."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from sslcli.config.architectures import RESNETS, vit_size
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import family_of
from sslcli.config.presets import list_presets
from sslcli.nn.foreign.classifier import USUAL


class Origin(NamedTuple):
    """A code that writes files.

    Attributes:
        label: Its name, for a person.
        signs: Patterns, each of which some name in the file has.
        method: Whose presets have its images and protocols; empty for no particular one.
        stem_padding: Of its 3x3 stem, which no tensor shows.
        classifier: What it calls the classifier of a network that it trained with labels.
        buffer: What it calls the samples that its chains go on from.
    """

    label: str
    signs: tuple[str, ...]
    method: str = ""
    stem_padding: int = 1
    classifier: tuple[str, ...] = ()
    buffer: str = ""


ORIGINS = (
    Origin("DINO's code", (r"^teacher\.(module\.)?backbone\.", r"^student\."), "dino"),
    Origin("MoCo v3's code", (r"\bbase_encoder\.", r"\bmomentum_encoder\."), "moco-v3"),
    Origin("MoCo's code, with v2's head", (r"\bencoder_q\.fc\.2\.",), "moco-v2"),
    Origin("MoCo's code", (r"\bencoder_q\.",), "moco-v1"),
    Origin("SwAV's code", (r"\bprototypes\b", r"\bprojection_head\."), "swav"),
    Origin("SimSiam's code", (r"\bencoder\.fc\.", r"\bpredictor\."), "simsiam"),
    Origin("SupContrast", (r"^model\.encoder\.", r"^model\.head\.", r"\.shortcut\."), "supcon"),
    Origin(
        "JEM's code",
        (r"^model_state_dict\.f\.conv1\.", r"class_output\."),
        "jem",
        classifier=("class_output",),
        buffer="replay_buffer",
    ),
    Origin("VISSL", (r"\b_feature_blocks\.",)),
    Origin("lightly", (r"\bbackbone\.0\.weight$",)),
    Origin(
        "solo-learn",
        (r"^state_dict\.(backbone|encoder)\.conv1\.", r"^state_dict\.classifier\."),
        stem_padding=2,
    ),
)
UNKNOWN = Origin("", (), classifier=USUAL)  # torchvision, timm and transformers among them
# A vision transformer without a head, as DINO's code releases them.
_HEADLESS = Origin("timm's or DINO's code", (r"^cls_token$", r"^blocks\.0\.attn\.qkv\."), "dino")


def origin_of(names: Iterable[str]) -> Origin:
    """Return the code that gives a file such names; `UNKNOWN` for none in particular."""
    names = list(names)
    for origin in (*ORIGINS, _HEADLESS):
        if all(any(re.search(sign, name) for name in names) for sign in origin.signs):
            return UNKNOWN if origin is _HEADLESS and _has_head(names) else origin
    return UNKNOWN


def _has_head(names: Iterable[str]) -> bool:
    return any(name.startswith(("head.", "fc_norm.")) for name in names)


def preset_for(origin: Origin, encoder: EncoderConfig) -> str:
    """Return the preset whose images and protocols suit a network of such an origin."""
    if family_of(encoder).reads == "text":
        return "simcse/texts"
    method = origin.method or "supervised"
    if is_small(encoder):
        ours = encoder.name.startswith("wrn-") or origin.method
        return f"{method}/cifar10" if ours else "simsiam/cifar10"
    resnet = f"{method}/imagenet-resnet50"
    is_resnet = encoder.name in RESNETS
    return resnet if is_resnet and resnet in list_presets() else f"{method}/imagenet"


def is_small(encoder: EncoderConfig) -> bool:
    """Say whether a network is made for images of 32 pixels."""
    if encoder.name.startswith("timm:") or vit_size(encoder.name):
        return False
    return encoder.stem == "cifar" or encoder.name not in RESNETS
