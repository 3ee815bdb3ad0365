"""A folder that SentenceTransformer loads: that of transformers, with its pooling beside it."""

import json
from pathlib import Path

from torch import nn

from sslcli.errors import UsageError
from sslcli.formats import hf_sentences
from sslcli.formats.inputs import Network
from sslcli.formats.report import ExportMeta

RELATIVE_TOLERANCE = 1e-5
_MODES = {"avg": "mean_tokens", "cls_before_pooler": "cls_token"}
_ALL = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
_PLACES = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}


def check(meta: ExportMeta) -> None:
    """Accept encoders of sentences whose pooling that package has.

    Raises:
        UsageError: If it is another network or pooling.
    """
    hf_sentences.check(meta)
    if meta.encoder.pooler not in _MODES:
        what = f"sentence-transformers has no pooling like {meta.encoder.pooler}"
        raise UsageError(what, "encoder.pooler", f"use the format hf; ours are {', '.join(_MODES)}")


def fill(folder: Path, encoder: nn.Module, meta: ExportMeta) -> None:
    """Write the files."""
    hf_sentences.fill(folder, encoder, meta)
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * meta.encoder.normalize_features
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": _PLACES[kind],
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    _write(
        folder / "sentence_bert_config.json",
        {"max_seq_length": meta.encoder.max_positions, "do_lower_case": False},
    )
    modes = {f"pooling_mode_{name}": name == _MODES[meta.encoder.pooler] for name in _ALL}
    (folder / _PLACES["Pooling"]).mkdir()
    width = {"word_embedding_dimension": encoder.feature_dim}
    _write(folder / _PLACES["Pooling"] / "config.json", width | modes)
    if meta.encoder.normalize_features:
        (folder / _PLACES["Normalize"]).mkdir()


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=2), "utf-8")


def load(path: Path, meta: ExportMeta) -> Network:
    """Read the folder with transformers, which that package builds on."""
    return hf_sentences.load(path, meta)


def call(meta: ExportMeta) -> str:
    """Return nothing: the notes show the whole."""
    return ""


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that loads the folder."""
    return (
        "from sentence_transformers import SentenceTransformer",
        f'vectors = SentenceTransformer("{path}").encode(["a sentence"])',
    )
