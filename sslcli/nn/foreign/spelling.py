"""The names that other codes give to the tensors of the same networks."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

Rename = Callable[[str], tuple[str, ...]]
COUNTER = "num_batches_tracked"  # of BatchNorm; some files lack it, and load_state_dict allows it


@dataclass(frozen=True)
class Spelling:
    """One code's names.

    Attributes:
        label: Whose they are, for a person; empty for torchvision's and timm's, which are ours.
        names: By our name, those whose tensors make ours, joined along the first dimension.
    """

    label: str
    names: Mapping[str, tuple[str, ...]]


def spellings(own: Iterable[str]) -> list[Spelling]:
    """Return the ways to spell a network's names, our own first, each once."""
    own, found = list(own), dict[tuple[tuple[str, ...], ...], Spelling]()
    for label, rename in _SPELLINGS:
        names = {name: rename(name) for name in own}
        found.setdefault(tuple(names.values()), Spelling(label, names))
    return list(found.values())


def _as_they_are(name: str) -> tuple[str, ...]:
    return (name,)


def _resnet(stages: Mapping[str, str], shortcut: str) -> Rename:
    """Return a rename of a ResNet's first word, and of its shortcuts."""

    def rename(name: str) -> tuple[str, ...]:
        first, dot, rest = name.partition(".")
        return (stages.get(first, first) + dot + rest.replace("downsample.", f"{shortcut}."),)

    return rename


def _wide_resnet(name: str) -> tuple[str, ...]:
    """Spell as JEM's wideresnet.py: the last norm is bn1, a shortcut is a Sequential of one."""
    name = re.sub(r"\.shortcut\.(?=weight|bias)", ".shortcut.0.", name)
    return (re.sub(r"^bn\.", "bn1.", name),)


def _transformers_vit(name: str) -> tuple[str, ...]:
    """Spell as transformers' ViTModel, whose query, key and value are three layers."""
    if match := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(\w+)", name):
        layer = f"encoder.layer.{match[1]}.attention.attention"
        return tuple(f"{layer}.{part}.{match[2]}" for part in ("query", "key", "value"))
    for ours, theirs in _VIT:
        name = re.sub(ours, theirs, name)
    return (name,)


def _transformers_resnet(name: str) -> tuple[str, ...]:
    """Spell as transformers' ResNetModel."""
    for ours, theirs in _RESNET:
        name = re.sub(ours, theirs, name)
    return (_one_less(name),)


def _transformers_bert(name: str) -> tuple[str, ...]:
    """Spell a sentence's head as BertModel spells its pooler, where SimCSE's models keep it."""
    return (re.sub(r"^head\.0\.", "pooler.dense.", name),)


def _one_less(name: str) -> str:
    """Count stages and convolutions of a block from 0, as transformers does."""
    return re.sub(r"<(\d)>", lambda match: str(int(match[1]) - 1), name)


_VIT = (
    (r"^cls_token", "embeddings.cls_token"),
    (r"^pos_embed", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.layer.\1.layernorm_before."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.layer.\1.layernorm_after."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^blocks\.(\d+)\.mlp\.fc1\.", r"encoder.layer.\1.intermediate.dense."),
    (r"^blocks\.(\d+)\.mlp\.fc2\.", r"encoder.layer.\1.output.dense."),
)
_RESNET = (
    (r"^conv1\.", "embedder.embedder.convolution."),
    (r"^bn1\.", "embedder.embedder.normalization."),
    (r"^layer(\d)\.(\d+)\.", r"encoder.stages.<\1>.layers.\2."),
    (r"\.conv(\d)\.", r".layer.<\1>.convolution."),
    (r"\.bn(\d)\.", r".layer.<\1>.normalization."),
    (r"\.downsample\.0\.", ".shortcut.convolution."),
    (r"\.downsample\.1\.", ".shortcut.normalization."),
)
_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_STAGES = {  # a Sequential of torchvision's children, of lightly's own, or the names as they are
    "": {},
    "numbered like torchvision's children": dict(
        zip(("conv1", "bn1", *_LAYERS), "014567", strict=True)
    ),
    "numbered like lightly's children": dict(
        zip(("conv1", "bn1", *_LAYERS), "012345", strict=True)
    ),
}
_SPELLINGS: list[tuple[str, Rename]] = [
    ("", _as_they_are),
    *(
        (", ".join(filter(None, (stages, label))), _resnet(_STAGES[stages], shortcut))
        for stages, (shortcut, label) in product(
            _STAGES, (("downsample", ""), ("shortcut", "with shortcuts of that name"))
        )
    ),
    ("those of JEM's wideresnet.py", _wide_resnet),
    ("those of transformers' ViT", _transformers_vit),
    ("those of transformers' ResNet", _transformers_resnet),
    ("those of transformers' BERT, whose pooler is the head", _transformers_bert),
]
