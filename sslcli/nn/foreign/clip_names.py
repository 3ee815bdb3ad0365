"""The names that other codes give to the tensors of CLIP's two towers.

Ours are those of the method: the encoder of images below `encoder.`, that of texts below
`text_encoder.`, both with the official code's names, a projection each, and `log_scale`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_PARTS = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class Layout:
    """One code's names of both towers.

    Attributes:
        label: Whose they are, for a person.
        rename: From our name to theirs, whose tensors make ours, joined along the first dimension.
        transposed: Our names of those matrices that they keep the other way round.
    """

    label: str
    rename: Callable[[str], tuple[str, ...]]
    transposed: frozenset[str] = frozenset()


def stored_as(layout: Layout, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our tensors by another code's names, each with memory of its own."""
    found: dict[str, Tensor] = {}
    for name, tensor in own.items():
        turned = tensor.T if name in layout.transposed else tensor
        names = layout.rename(name)
        parts = turned.chunk(len(names)) if len(names) > 1 else (turned,)
        found |= {theirs: x.clone().contiguous() for theirs, x in zip(names, parts, strict=True)}
    return found


def as_ours(layout: Layout, own: str, stored: Mapping[str, Tensor], prefix: str) -> Tensor | None:
    """Return the tensor of our name out of another code's, float32; None if it is not there."""
    names = [prefix + name for name in layout.rename(own)]
    if not all(name in stored for name in names):
        return None
    whole = torch.cat([stored[name] for name in names]) if names[1:] else stored[names[0]]
    whole = whole.T if own in layout.transposed and whole.ndim == 2 else whole
    return whole.float() if whole.is_floating_point() else whole


def _transformers(name: str) -> tuple[str, ...]:
    """Spell as transformers' CLIPModel, whose query, key and value are three layers."""
    for ours, theirs in _TRANSFORMERS:
        name = re.sub(ours, theirs, name)
    if match := re.fullmatch(r"(.*self_attn)\.in_proj_(weight|bias)", name):
        return tuple(f"{match[1]}.{part}.{match[2]}" for part in _PARTS)
    return (name,)


_TRANSFORMERS = (
    (r"^log_scale$", "logit_scale"),
    (r"^image_projection\.", "visual_projection."),
    (r"^encoder\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^encoder\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^encoder\.ln_pre\.", "vision_model.pre_layrnorm."),  # spelled so
    (r"^encoder\.ln_post\.", "vision_model.post_layernorm."),
    (r"^encoder\.", "vision_model."),
    (r"^text_encoder\.token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^text_encoder\.ln_final\.", "text_model.final_layer_norm."),
    (r"^text_encoder\.", "text_model."),
    (r"\.positional_embedding$", ".embeddings.position_embedding.weight"),
    (r"\.transformer\.resblocks\.", ".encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def _open_clip(text: str) -> Callable[[str], tuple[str, ...]]:
    """Return a rename to open_clip's names, whose tower of texts lies below `text`."""

    def rename(name: str) -> tuple[str, ...]:
        for ours, theirs in (
            (r"^log_scale$", "logit_scale"),
            (r"^bias$", "logit_bias"),
            (r"^image_projection\.weight$", "visual.proj"),
            (r"^text_projection\.weight$", f"{text}text_projection"),
            (r"^encoder\.", "visual."),
            (r"^text_encoder\.", text),
        ):
            if re.search(ours, name):
                return (re.sub(ours, theirs, name),)
        return (name,)

    return rename


_TURNED = frozenset({"image_projection.weight", "text_projection.weight"})
TRANSFORMERS = Layout("transformers' CLIPModel", _transformers)
LAYOUTS = (
    TRANSFORMERS,
    Layout("open_clip", _open_clip(""), _TURNED),
    Layout("open_clip, with a tower of texts of its own", _open_clip("text."), _TURNED),
)
