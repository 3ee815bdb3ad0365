"""A folder that transformers' CLIPModel loads: both towers, tokenizer, image processor, card."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sslcli.config.architectures import clip_size, patch_side
from sslcli.config.encoder import EncoderConfig
from sslcli.config.pixels import Pixels
from sslcli.errors import UsageError
from sslcli.formats.hf_tokenizer import save_tokenizer
from sslcli.formats.inputs import Network, PairInput
from sslcli.formats.report import ExportMeta
from sslcli.nn.foreign.clip_names import TRANSFORMERS, stored_as

_ACTIVATIONS = {"quick": "quick_gelu", "exact": "gelu"}
_FILTERS = {"bilinear": 2, "bicubic": 3}
# In transformers an end that is token 2 stands for an older rule, the largest number of a text.
_OLDER_END = 2


def check(meta: ExportMeta) -> None:
    """Accept CLIP's own transformers with a tokenizer that ends a text.

    Raises:
        UsageError: If something of the run is not CLIPModel's.
    """
    assert meta.pair
    image, text = meta.encoder, meta.pair.text_encoder
    hint = "export either tower with `tower` image or text as safetensors, onnx or pt2"
    for encoder, kind in ((image, "vit"), (text, "text")):
        if not clip_size(encoder.name, kind):
            what = f"transformers' CLIPModel has no {encoder.name}, but clip-{kind}-DEPTH-WIDTH-"
            raise UsageError(f"{what}HEADS", "format", hint)
        if encoder.normalize_features:
            what = "transformers' CLIPModel projects no unit vectors (normalize_features)"
            raise UsageError(what, "format", hint)
    if meta.pair.bias:
        what = "transformers' CLIPModel adds nothing to its logits, and this run has learned to add"
        raise UsageError(f"{what} {meta.pair.bias:.3g}", "format", hint)
    inputs = meta.inputs
    assert isinstance(inputs, PairInput)
    if inputs.image.pixels.space != "rgb":
        what = f"transformers' image processor makes no {inputs.image.pixels.space}"
        raise UsageError(what, "format", hint)
    if inputs.text.end in (None, _OLDER_END):
        what = "transformers' CLIPModel reads a text at its last token, a special one"
        has = "token 2, which stands for another rule" if inputs.text.end else "none"
        raise UsageError(f"{what}; this tokenizer's is {has}", "format", hint)


def fill(folder: Path, encoder: nn.Module, meta: ExportMeta) -> None:
    """Write the files."""
    inputs, pair = meta.inputs, meta.pair
    assert isinstance(inputs, PairInput)
    assert pair
    roles = save_tokenizer(folder, inputs.text)
    ends = {
        "bos_token_id": roles.get("bos_token", roles.get("cls_token", 0)),
        "eos_token_id": inputs.text.end,
        "pad_token_id": roles.get("pad_token", 0),
    }
    config = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": pair.dim,
        "logit_scale_init_value": math.log(pair.scale),
        "vision_config": {
            **_blocks(meta.encoder, "vit"),
            "model_type": "clip_vision_model",
            "image_size": inputs.image.image_size,
            "patch_size": patch_side(meta.encoder),
            "num_channels": 3,
            "projection_dim": pair.dim,
        },
        "text_config": {
            **_blocks(pair.text_encoder, "text"),
            **ends,
            "model_type": "clip_text_model",
            "vocab_size": pair.text_encoder.vocabulary,
            "max_position_embeddings": pair.text_encoder.max_positions,
            "projection_dim": pair.dim,
        },
    }
    _write(folder / "config.json", config)
    _write(folder / "preprocessor_config.json", _processor(inputs.image.pixels))
    own = {**encoder.state_dict(), "log_scale": torch.tensor(math.log(pair.scale))}
    if not meta.projection:
        own["image_projection.weight"] = torch.eye(pair.dim)
    save_file(stored_as(TRANSFORMERS, own), folder / "model.safetensors", {"format": "pt"})
    (folder / "README.md").write_text(_card(meta), "utf-8")


def _blocks(encoder: EncoderConfig, kind: str) -> dict[str, Any]:
    size = clip_size(encoder.name, kind)
    assert size is not None
    return {
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "hidden_act": _ACTIVATIONS[encoder.gelu],
        "layer_norm_eps": 1e-5,
        "attention_dropout": 0.0,
    }


def _processor(pixels: Pixels) -> dict[str, Any]:
    """Return the steps from an image to a tensor as transformers' image processor has them."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "CLIPProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": pixels.shorter_side},
        "resample": _FILTERS[pixels.interpolation],
        "do_center_crop": True,
        "crop_size": {"height": pixels.image_size, "width": pixels.image_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": pixels.mean,
        "image_std": pixels.std,
    }


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2), "utf-8")


def load(path: Path, meta: ExportMeta) -> Network:
    """Read the folder with transformers, and put the vectors of both towers side by side."""
    from transformers import CLIPModel  # noqa: PLC0415  seconds
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    model = CLIPModel.from_pretrained(path).eval()

    def network(images: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            found = (
                model.get_image_features(pixel_values=images),
                model.get_text_features(input_ids=ids, attention_mask=mask.long()),
            )
        # before version 5 these are tensors
        vectors = [x if isinstance(x, Tensor) else x.pooler_output for x in found]
        return torch.cat(vectors, dim=1)

    return network


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that loads and uses the folder."""
    return (
        "from PIL import Image",
        "from transformers import CLIPModel, CLIPProcessor",
        f"model = CLIPModel.from_pretrained({str(path)!r})",
        f"processor = CLIPProcessor.from_pretrained({str(path)!r})",
        'images, texts = [Image.open("photo.jpg")], ["a red picture"]',
        'how = {"padding": True, "truncation": True, "return_tensors": "pt"}',
        "inputs = processor(images=images, text=texts, **how)",
        "logits = model(**inputs).logits_per_image",
    )


def _card(meta: ExportMeta) -> str:
    """Return a model card: what the folder is, and how to use it."""
    assert meta.pair
    code = "\n".join(notes(Path("FOLDER"), meta))
    return f"""---
library_name: transformers
tags: [zero-shot-image-classification, clip]
---

# Two towers of sslcli

`{meta.encoder.name}` for images and `{meta.pair.text_encoder.name}` for texts, trained with
sslcli. Both meet in {meta.pair.dim} dimensions. Data and licence are not told here.

```python
{code}
```
"""
