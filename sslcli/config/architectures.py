"""The names of networks and the sizes that they stand for, without torch for the help."""

import re
from typing import Any, NamedTuple

from sslcli.config.encoder import EncoderConfig


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


class BertSize(NamedTuple):
    """A sentence encoder's layers, entries of a token, and heads, and what its kind fixes.

    Attributes:
        depth: Layers.
        width: Entries of a token's state; the layer within is four times as wide.
        heads: Of attention.
        padding: Number of the token that pads.
        first_position: Position of the first token.
        token_types: Segments of a text that the embeddings know.
        eps: Of the LayerNorms.
    """

    depth: int
    width: int
    heads: int
    padding: int = 0
    first_position: int = 0
    token_types: int = 2
    eps: float = 1e-12


class Stage(NamedTuple):
    """A stage of a pre-activation network: its blocks, and widths as multiples of the network's.

    Attributes:
        blocks: How many.
        inner: Width within a block.
        outer: Width behind it; a block whose widths differ is a bottleneck.
    """

    blocks: int
    inner: int
    outer: int


class AMDIMSize(NamedTuple):
    """The entries of an AMDIM network's features, and the pairs of convolutions in its blocks."""

    dim: int
    depth: int


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
# Channels of AMDIM's maps of 7x7 places in units of the first layer's, by the side of the images
# (amdim-public, model.py:27-63). Shortcuts can only add channels, so features have as many or more.
AMDIM_WIDENING = {32: 4, 64: 8, 128: 8}
# DeiT's (Touvron et al. 2021, arXiv:2012.12877, table 1); MoCo v3's ViT-S is vit-12-384-12.
VITS = {
    "vit-tiny": TransformerSize(12, 192, 3),
    "vit-small": TransformerSize(12, 384, 6),
    "vit-base": TransformerSize(12, 768, 12),
}
# Devlin et al. 2019 (arXiv:1810.04805), section 3; RoBERTa has other numbers for tokens and places.
_BERT_KINDS: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"padding": 1, "first_position": 2, "token_types": 1, "eps": 1e-5},
}
# Radford et al. 2021 (arXiv:2103.00020), section 2.4: blocks in each stage.
CLIP_RESNETS = {"clip-resnet50": (3, 4, 6, 3), "clip-resnet101": (3, 4, 23, 3)}
# Dosovitskiy et al. 2014 (arXiv:1406.6909), section 3.1: filters, then the fully connected layer.
EXEMPLAR = {
    "exemplar-small": (64, 64, 128),
    "exemplar-medium": (64, 128, 256, 512),
    "exemplar-large": (92, 256, 512, 1024),
}
ALEXNET = "half-alexnet"  # CMC's, of half the widths
# CPC's ResNet-v2 without the fourth stage. Resnet161 is v2's (arXiv:1905.09272), resnet14 is RS's
# (CPCV2-PyTorch), resnet8 is this project's, with one block a stage.
CPC_RESNETS = {
    "cpc-resnet8": (Stage(1, 1, 1), Stage(1, 2, 2), Stage(1, 4, 4)),
    "cpc-resnet14": (Stage(2, 1, 1), Stage(2, 2, 2), Stage(2, 4, 4)),
    "cpc-resnet50": (Stage(3, 1, 4), Stage(4, 2, 8), Stage(6, 4, 16)),
    "cpc-resnet101": (Stage(3, 1, 4), Stage(4, 2, 8), Stage(23, 4, 16)),
    "cpc-resnet161": (Stage(3, 1, 4), Stage(4, 2, 8), Stage(46, 8, 64)),
}
_CIFAR_FAMILY = tuple(f"resnet{depth}" for depth in (8, 14, 20, 26, 32, 38, 44, 56, 110))


def encoder_names() -> tuple[str, ...]:
    """Return the names worth listing; families have more members, and timm more models."""
    wide = ("wrn-28-10", "wrn-40-2")
    cpc = (*CPC_RESNETS, "cpc-wrn-28-2")
    images = (*RESNETS, *_CIFAR_FAMILY, *wide, *IGEBM, *VITS, *EXEMPLAR, ALEXNET, *cpc)
    texts = ("bert-12-768-12", "roberta-12-768-12")
    amdim = ("amdim-1024-3", "amdim-2048-10")
    clip = (*CLIP_RESNETS, "clip-vit-12-768-12", "clip-text-12-512-8")
    return (*images, *amdim, *texts, *clip, "timm:NAME")


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


def cpc_wide_size(name: str) -> tuple[int, int] | None:
    """Return depth and widening of CPC's wide ResNet, or None for another name."""
    return wide_size(name.removeprefix("cpc-")) if name.startswith("cpc-") else None


def vit_size(name: str) -> TransformerSize | None:
    """Return the size that a vision transformer's name stands for, or None for another name."""
    match = re.fullmatch(r"vit-([1-9]\d?)-([1-9]\d{0,3})-([1-9]\d?)", name)
    return TransformerSize(*map(int, match.groups())) if match else VITS.get(name)


def bert_size(name: str) -> BertSize | None:
    """Return the size of "bert-DEPTH-WIDTH-HEADS" or "roberta-...", or None for another name."""
    match = re.fullmatch(r"(bert|roberta)-([1-9]\d?)-([1-9]\d{0,3})-([1-9]\d?)", name)
    return BertSize(*map(int, match.groups()[1:]), **_BERT_KINDS[match[1]]) if match else None


def amdim_size(name: str) -> AMDIMSize | None:
    """Return the size that an AMDIM network's name stands for, or None for another name."""
    match = re.fullmatch(r"amdim-([1-9]\d{0,4})-([1-9]\d?)", name)
    return AMDIMSize(*map(int, match.groups())) if match else None


def amdim_width(config: EncoderConfig) -> int:
    """Return the channels of an AMDIM network's first layer; the code's default is 128."""
    return config.width or 128


def clip_size(name: str, kind: str) -> TransformerSize | None:
    """Return the size of "clip-KIND-DEPTH-WIDTH-HEADS", or None for another name."""
    match = re.fullmatch(rf"clip-{kind}-([1-9]\d?)-([1-9]\d{{0,3}})-([1-9]\d?)", name)
    return TransformerSize(*map(int, match.groups())) if match else None


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


def _half(size: int) -> int:
    """Return the size after a convolution or pool of stride 2 padded to keep the centre."""
    return (size - 1) // 2 + 1
