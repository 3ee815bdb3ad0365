"""Read the config files of a folder of BERT or RoBERTa: the network, its read-out, its lengths."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslcli.config.architectures import bert_size
from sslcli.config.encoder import EncoderConfig
from sslcli.errors import CheckpointError

MODULES = "modules.json"  # of the package sentence-transformers
_POOLERS = {"cls_token": "cls_before_pooler", "mean_tokens": "avg"}
KINDS = ("bert", "roberta")


def described_encoder(
    config: Mapping[str, Any],
) -> tuple[EncoderConfig, dict[str, Any], tuple[str, ...]]:
    """Return the network of a config.json, the settings that ours needs, and remarks."""
    depth, width = int(config["num_hidden_layers"]), int(config["hidden_size"])
    name = f"{config['model_type']}-{depth}-{width}-{int(config['num_attention_heads'])}"
    size = bert_size(name)
    if size is None:
        raise ValueError(f"no encoder of ours is {name}")
    encoder = EncoderConfig(
        name=name,
        vocabulary=int(config["vocab_size"]),
        max_positions=int(config.get("max_position_embeddings", 512)) - size.first_position,
        dropout=float(config.get("hidden_dropout_prob", 0.1)),
        pooler="avg",
    )
    wanted = {
        "hidden_act": "gelu",
        "intermediate_size": 4 * width,
        "position_embedding_type": "absolute",
        "type_vocab_size": size.token_types,
        "pad_token_id": size.padding,
    }
    eps = float(config.get("layer_norm_eps", size.eps))
    note = f"layer_norm_eps is {eps:g} in this model and {size.eps:g} here"
    return encoder, wanted, () if eps == size.eps else (note,)


def read_out_of(folder: Path) -> tuple[dict[str, Any], int | None, tuple[str, ...]]:
    """Return what a folder of sentence-transformers says beside the network.

    Returns:
        Fields of `EncoderConfig`, the most tokens of a text, and remarks.

    Raises:
        CheckpointError: If its read-out is none of ours.
    """
    if not (folder / MODULES).is_file():
        note = (
            "no modules.json says how a sentence's vector is made: encoder.pooler is avg; of "
            "SimCSE's models it is cls_before_pooler, and cls of the supervised ones"
        )
        return {}, None, (note,)
    fields: dict[str, Any] = {}
    for module in json.loads((folder / MODULES).read_text("utf-8")):
        kind, place = module["type"].rpartition(".")[2], folder / module["path"]
        if kind == "Pooling":
            fields["pooler"] = _pooler(
                json.loads((place / "config.json").read_text("utf-8")), place
            )
        elif kind == "Normalize":
            fields["normalize_features"] = True
        elif kind != "Transformer":
            what = f"this sentence encoder has a module of the kind {kind}"
            hint = "ours have a transformer, a pooling and unit vectors; use another model"
            raise CheckpointError(what, str(folder / MODULES), hint)
    length = folder / "sentence_bert_config.json"
    known = json.loads(length.read_text("utf-8")) if length.is_file() else {}
    return fields, known.get("max_seq_length"), ()


def _pooler(config: Mapping[str, Any], where: Path) -> str:
    """Return the pooler that a Pooling module's config asks for."""
    modes = [name.removeprefix("pooling_mode_") for name, on in config.items() if on is True]
    modes = [name for name in modes if name in _POOLERS or name.endswith(("tokens", "token"))]
    named = config.get("pooling_mode", "")  # of later versions
    modes = modes or [f"{named}_token" if named == "cls" else f"{named}_tokens"]
    if len(modes) != 1 or modes[0] not in _POOLERS:
        what = f"the read-out {' and '.join(modes)} is none of ours"
        raise CheckpointError(what, str(where), "ours are mean_tokens and cls_token")
    return _POOLERS[modes[0]]
