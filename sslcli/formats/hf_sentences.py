"""A folder of an encoder of sentences: weights, config, tokenizer, and a model card."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sslcli.config.architectures import bert_size
from sslcli.errors import UsageError
from sslcli.formats.hf_tokenizer import save_tokenizer
from sslcli.formats.inputs import Network, TextInput
from sslcli.formats.report import ExportMeta
from sslcli.nn.bert import kind_of
from sslcli.nn.pooling import pool
from sslcli.nn.unit_length import UnitLength

_HEAD = {"head.0.weight": "pooler.dense.weight", "head.0.bias": "pooler.dense.bias"}
_CLASSES = {"bert": "BertModel", "roberta": "RobertaModel"}


def check(meta: ExportMeta) -> None:
    """Accept encoders of sentences with a tokenizer.

    Raises:
        UsageError: If it is another network.
    """
    has_tokenizer = isinstance(meta.inputs, TextInput) and bool(meta.inputs.tokenizer)
    if not bert_size(meta.encoder.name) or not has_tokenizer:
        what = f"this format holds encoders of sentences, and {meta.encoder.name} is none"
        raise UsageError(what, "format", "use safetensors, onnx or pt2")


def fill(folder: Path, encoder: nn.Module, meta: ExportMeta) -> None:
    """Write the files."""
    from transformers import BertConfig, RobertaConfig  # noqa: PLC0415  seconds

    size, kind, inputs = bert_size(meta.encoder.name), _kind(meta), meta.inputs
    assert size is not None
    assert isinstance(inputs, TextInput)
    config = {"bert": BertConfig, "roberta": RobertaConfig}[kind](
        architectures=[_CLASSES[kind]],
        vocab_size=int(meta.encoder.vocabulary or inputs.vocabulary),
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
        hidden_dropout_prob=meta.encoder.dropout,
        attention_probs_dropout_prob=meta.encoder.dropout,
        max_position_embeddings=meta.encoder.max_positions + size.first_position,
        type_vocab_size=size.token_types,
        pad_token_id=size.padding,
        layer_norm_eps=size.eps,
    )
    config.save_pretrained(folder)
    tensors = {_HEAD.get(name, name): x.contiguous() for name, x in encoder.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    save_tokenizer(folder, inputs)
    (folder / "README.md").write_text(_card(meta), "utf-8")


def load(path: Path, meta: ExportMeta) -> Network:
    """Read the folder with transformers, and make vectors of its hidden states."""
    from transformers import AutoModel  # noqa: PLC0415  as above
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    size = bert_size(meta.encoder.name)
    assert size is not None
    first = size.first_position
    has_head = meta.encoder.pooler == "cls"
    model = AutoModel.from_pretrained(path, add_pooling_layer=has_head).eval()
    unit = UnitLength() if meta.encoder.normalize_features else nn.Identity()

    def network(ids: Tensor, mask: Tensor) -> Tensor:
        # RoBERTa counts places by the tokens that do not pad, and probes hold any number
        places = torch.arange(ids.shape[1]).expand_as(ids) + first
        with torch.no_grad():
            found = model(ids, mask.long(), position_ids=places, output_hidden_states=True)
        states = found.hidden_states
        vectors: Tensor = unit(
            found.pooler_output if has_head else pool(states, mask, kind_of(meta.encoder.pooler))
        )
        return vectors

    return network


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that loads the folder."""
    return (
        "from transformers import AutoModel, AutoTokenizer",
        f'tokenizer = AutoTokenizer.from_pretrained("{path}")',
        f'model = AutoModel.from_pretrained("{path}")',
        f"# a sentence's vector: {_how(meta)}",
    )


def _kind(meta: ExportMeta) -> str:
    return meta.encoder.name.split("-")[0]


def _how(meta: ExportMeta) -> str:
    """Say how a sentence's vector is made of the model's outputs."""
    ways = {
        "cls": "pooler_output",
        "cls_before_pooler": "last_hidden_state[:, 0]",
        "avg": "the mean of last_hidden_state over real tokens",
        "avg_top2": "the mean of the last two hidden_states over real tokens",
        "avg_first_last": "the mean of hidden_states[1] and hidden_states[-1] over real tokens",
        "avg_emb_last": "the mean of hidden_states[0] and hidden_states[-1] over real tokens",
    }
    unit = ", at length 1" if meta.encoder.normalize_features else ""
    return ways[meta.encoder.pooler] + unit


def _card(meta: ExportMeta) -> str:
    """Return a model card: what the folder is, and how to make vectors with it."""
    return f"""---
library_name: transformers
tags: [sentence-similarity, feature-extraction]
---

# A sentence encoder of sslcli

`{meta.encoder.name}`, trained with sslcli. A sentence's vector is {_how(meta)}.
Texts have at most {meta.encoder.max_positions} tokens. Data and licence are not told here.
"""
