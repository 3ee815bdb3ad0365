"""Find both towers of CLIP in a file of another code, and tell from shapes how large they are."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslcli.config.architectures import CLIP_RESNETS
from sslcli.config.encoder import EncoderConfig, Gelu
from sslcli.errors import CheckpointError
from sslcli.nn.encoders import build_encoder
from sslcli.nn.foreign.clip_names import LAYOUTS, Layout, as_ours
from sslcli.nn.foreign.fit import names_below
from sslcli.nn.foreign.spelling import COUNTER

_MARKS = ("encoder.conv1.weight", "text_encoder.token_embedding.weight", "log_scale")
_GELUS: dict[str, Gelu] = {"quick_gelu": "quick", "gelu": "exact"}  # by transformers' name
_HEAD_WIDTH = 64  # of every transformer of the official code and of open_clip
_SIDE = 32  # pixels of an image for one place of a ResNet's last maps
# What a file may hold beside the weights: numbers of OpenAI's archives, and tables of constants.
_OPENAI = ("input_resolution", "context_length", "vocab_size")
_SPARE = re.compile(rf"({'|'.join(_OPENAI)}|(text\.)?attn_mask|.*position_ids)")


@dataclass(frozen=True)
class FoundTowers:
    """Two towers in a file.

    Attributes:
        encoder: The network of images.
        text_encoder: That of texts.
        image_size: Side of the images that its table of positions is for.
        dim: Entries of the vectors in which they meet.
        tensors: By the names of our method.
        layout: Whose names the file has.
        prefix: What it has before them.
        left: Names in the file that are not used.
        notes: What no tensor shows, and was taken.
    """

    encoder: EncoderConfig
    text_encoder: EncoderConfig
    image_size: int
    dim: int
    tensors: Mapping[str, Tensor]
    layout: str
    prefix: str
    left: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def projects_images(self) -> bool:
        """Whether a projection stands behind the encoder of images."""
        return "image_projection.weight" in self.tensors

    @property
    def has_bias(self) -> bool:
        """Whether a bias is learned beside the scale, as SigLIP does."""
        return "bias" in self.tensors


@dataclass(frozen=True)
class DescribedTowers:
    """The networks that a folder's config names.

    Attributes:
        encoder: Of images.
        text_encoder: Of texts.
    """

    encoder: EncoderConfig
    text_encoder: EncoderConfig


def described_towers(config: Mapping[str, Any]) -> DescribedTowers:
    """Return the towers of a CLIPModel's config.json; what it leaves out is ViT-B/32's.

    Raises:
        KeyError: If the activation is none of ours.
    """
    image, text = config.get("vision_config") or {}, config.get("text_config") or {}
    return DescribedTowers(
        EncoderConfig(
            name=f"clip-vit-{_size(image, 12, 768, 12)}",
            patch_size=int(image.get("patch_size", 32)),
            gelu=_GELUS[image.get("hidden_act", "quick_gelu")],
        ),
        EncoderConfig(
            name=f"clip-text-{_size(text, 12, 512, 8)}",
            vocabulary=int(text.get("vocab_size", 49408)),
            max_positions=int(text.get("max_position_embeddings", 77)),
            gelu=_GELUS[text.get("hidden_act", "quick_gelu")],
        ),
    )


def _size(config: Mapping[str, Any], *usual: int) -> str:
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads")
    pairs = zip(names, usual, strict=True)
    return "-".join(str(int(config.get(name, number))) for name, number in pairs)


def find_towers(
    stored: Mapping[str, Tensor], where: str, key: str = "", known: DescribedTowers | None = None
) -> FoundTowers | None:
    """Return the towers of CLIP in a file; None if there are no two.

    Args:
        stored: What the file holds.
        where: The file, for the error.
        key: Look below this name alone.
        known: The networks, where a config names them; else shapes tell.

    Raises:
        CheckpointError: If several pairs are there, or the towers are none of ours.
    """
    below = {name: stored[name] for name in names_below(stored, where, key)}
    places = [(layout, prefix) for layout in LAYOUTS for prefix in _prefixes(layout, below)]
    if not places:
        return None
    if len(places) > 1:
        named = ", ".join(repr(prefix) for _, prefix in places)
        hint = f"import one of them with `key`, such as {places[0][1].rstrip('.') or 'module'}"
        raise CheckpointError(f"{len(places)} pairs of towers are there: {named}", where, hint)
    return _Reading(below, where, *places[0]).towers(known)


def _prefixes(layout: Layout, stored: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the prefixes under which a file has towers in a layout."""
    first, *rest = (name for mark in _MARKS for name in layout.rename(mark))
    for name in stored:
        prefix = name.removesuffix(first)
        is_there = name.endswith(first) and (not prefix or prefix.endswith("."))
        if is_there and all(prefix + other in stored for other in rest):
            yield prefix


class _Reading:
    """One pair of towers in a file."""

    def __init__(
        self, stored: Mapping[str, Tensor], where: str, layout: Layout, prefix: str
    ) -> None:
        self.stored, self.where, self.layout, self.prefix = stored, where, layout, prefix

    def towers(self, known: DescribedTowers | None) -> FoundTowers:
        notes: tuple[str, ...] = ()
        if known is None:
            known, notes = DescribedTowers(self._images(), self._texts()), self._assumed()
            known = self._with_gelu(known)
        side = self._image_size(known.encoder)
        tensors = self._tensors(known, side)
        used = {self.prefix + name for own in tensors for name in self.layout.rename(own)}
        left = tuple(name for name in self.stored if name not in used)
        self._refuse_strange(left)
        dim = tensors["text_projection.weight"].shape[0]
        return FoundTowers(
            known.encoder, known.text_encoder, side, dim, tensors, self.layout.label, self.prefix,
            left, notes,
        )  # fmt: skip

    def _find(self, own: str) -> Tensor | None:
        return as_ours(self.layout, own, self.stored, self.prefix)

    def _shape(self, own: str) -> torch.Size:
        found = self._find(own)
        if found is None:
            what = f"the towers lack {self.prefix}{self.layout.rename(own)[0]}"
            raise CheckpointError(what, self.where, "use CLIP's ViT or ResNet; others have others")
        return found.shape

    def _depth(self, tower: str) -> int:
        """Return how many blocks a transformer has."""
        depth = 0
        while self._find(f"{tower}.transformer.resblocks.{depth}.ln_1.weight") is not None:
            depth += 1
        return depth

    def _images(self) -> EncoderConfig:
        if self._find("encoder.attnpool.positional_embedding") is not None:
            return self._resnet()
        width, _, patch, _ = self._shape("encoder.conv1.weight")
        name = f"clip-vit-{self._depth('encoder')}-{width}-{max(1, width // _HEAD_WIDTH)}"
        return EncoderConfig(name=name, patch_size=patch)

    def _resnet(self) -> EncoderConfig:
        layers = tuple(self._blocks(stage) for stage in range(1, 5))
        name = next((name for name, known in CLIP_RESNETS.items() if known == layers), None)
        if name is None:
            what = f"no encoder of ours has {'-'.join(map(str, layers))} blocks in its stages"
            raise CheckpointError(what, self.where, f"ours are {', '.join(CLIP_RESNETS)}")
        width = self._shape("encoder.conv3.weight")[0]
        outputs = self._shape("encoder.attnpool.c_proj.weight")[0]
        return EncoderConfig(name=name, width=None if width == 64 else width, outputs=outputs)

    def _blocks(self, stage: int) -> int:
        blocks = 0
        while self._find(f"encoder.layer{stage}.{blocks}.conv1.weight") is not None:
            blocks += 1
        return blocks

    def _texts(self) -> EncoderConfig:
        vocabulary, width = self._shape("text_encoder.token_embedding.weight")
        heads = max(1, width // _HEAD_WIDTH)
        return EncoderConfig(
            name=f"clip-text-{self._depth('text_encoder')}-{width}-{heads}",
            vocabulary=vocabulary,
            max_positions=self._shape("text_encoder.positional_embedding")[0],
        )

    @property
    def _is_openai(self) -> bool:
        return all(self.prefix + name in self.stored for name in _OPENAI)

    def _with_gelu(self, towers: DescribedTowers) -> DescribedTowers:
        """Give both towers the GELU that the code which wrote the file has unless asked."""
        update = {"gelu": "quick" if self._is_openai else "exact"}
        text = towers.text_encoder.model_copy(update=update)
        if not towers.encoder.name.startswith("clip-vit-"):
            return DescribedTowers(towers.encoder, text)
        return DescribedTowers(towers.encoder.model_copy(update=update), text)

    def _assumed(self) -> tuple[str, ...]:
        heads = f"no tensor shows the heads of a transformer: {_HEAD_WIDTH} entries each are taken"
        if self._is_openai:
            return (heads,)
        gelu = "no tensor shows the GELU: the exact one is taken, open_clip's default; OpenAI's "
        gelu += "weights and its -quickgelu models have the quick one: set encoder.gelu and "
        return heads, gelu + 'text_encoder.gelu to "quick"'

    def _image_size(self, encoder: EncoderConfig) -> int:
        """Return the side of the images that the table of positions is for."""
        pool = self._find("encoder.attnpool.positional_embedding")
        table = self._shape("encoder.positional_embedding") if pool is None else pool.shape
        patch = (encoder.patch_size or 16) if pool is None else _SIDE
        return round((table[0] - 1) ** 0.5) * patch

    def _tensors(self, known: DescribedTowers, side: int) -> dict[str, Tensor]:
        """Return the tensors of both towers and what stands behind them, by our names."""
        wanted: dict[str, Tensor] = {}
        with torch.device("meta"):
            for tower, config in (("encoder", known.encoder), ("text_encoder", known.text_encoder)):
                network = build_encoder(config, side)
                wanted |= {f"{tower}.{name}": x for name, x in network.state_dict().items()}
        found = {own: self._find(own) for own in wanted}
        missing = [n for n, x in found.items() if x is None and not n.endswith(COUNTER)]
        if missing:
            names = ", ".join(self.prefix + self.layout.rename(own)[0] for own in missing[:3])
            what = f"{len(missing)} tensors of the towers are missing: {names}"
            raise CheckpointError(what, self.where, "copy or download the file again")
        fresh = {n: torch.zeros((), dtype=torch.int64) for n, x in found.items() if x is None}
        behind = ("image_projection.weight", "text_projection.weight", "log_scale", "bias")
        found |= {own: self._find(own) for own in behind}
        if found["text_projection.weight"] is None:
            what = "there is no projection of texts"
            raise CheckpointError(what, self.where, "use a model that has one")
        kept = {own: x for own, x in found.items() if x is not None} | fresh
        return {n: x.reshape(()) if n in ("log_scale", "bias") else x for n, x in kept.items()}

    def _refuse_strange(self, left: tuple[str, ...]) -> None:
        """Raise CheckpointError if the towers have parts that ours lack."""
        tops = {name.split(".")[0] for mark in _MARKS for name in self.layout.rename(mark)}
        tops |= {"transformer", "text"}
        behind = [n.removeprefix(self.prefix) for n in left if n.startswith(self.prefix)]
        strange = [n for n in behind if n.split(".")[0] in tops and not _SPARE.fullmatch(n)]
        if strange:
            what = f"these towers have {len(strange)} tensors that ours lack: "
            what += ", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
            raise CheckpointError(what, self.where, "use CLIP's own ViT or ResNet and its texts'")
