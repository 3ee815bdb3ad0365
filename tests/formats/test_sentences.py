"""Encoders of sentences as folders of transformers and of sentence-transformers."""

import json
import os

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from sslcli.config.encoder import EncoderConfig
from sslcli.data.text.learned import learn_words
from sslcli.errors import UsageError
from sslcli.formats import ExportMeta, TextInput, export_encoder
from sslcli.nn.encoders import build_encoder

TEXTS = ["a dog runs in the rain", "the cat", "one bird sings and another sleeps"]
WORDS = learn_words(TEXTS, 64)


def made(name="bert-2-8-2", **fields):
    torch.manual_seed(0)
    config = EncoderConfig(name=name, vocabulary=WORDS.vocabulary, max_positions=16, **fields)
    meta = ExportMeta(config, TextInput(16, WORDS.vocabulary, WORDS.text))
    return build_encoder(config).eval(), meta


@pytest.mark.parametrize("pooler", ["cls", "avg", "avg_top2", "cls_before_pooler"])
def test_transformers_loads_the_folder_with_its_tokenizer(pooler, tmp_path):
    encoder, meta = made(pooler=pooler)
    report = export_encoder("hf", encoder, meta, tmp_path / "model")
    assert report.max_abs_error <= report.tolerance
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    found = tokenizer(TEXTS, padding=True, return_tensors="pt")
    tokens = WORDS.encode(TEXTS, 16)
    assert found["input_ids"].equal(tokens.ids)
    assert found["attention_mask"].bool().equal(tokens.mask)
    assert "sentence's vector" in (tmp_path / "model/README.md").read_text()


def test_roberta_keeps_its_places(tmp_path):
    encoder, meta = made("roberta-1-8-2")
    report = export_encoder("hf", encoder, meta, tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert (config["model_type"], config["max_position_embeddings"]) == ("roberta", 18)
    assert report.max_abs_error <= report.tolerance


@pytest.mark.parametrize(("pooler", "unit"), [("avg", True), ("cls_before_pooler", False)])
def test_sentence_transformers_gives_the_same_vectors(pooler, unit, tmp_path):
    encoder, meta = made(pooler=pooler, normalize_features=unit)
    export_encoder("sentence-transformers", encoder, meta, tmp_path / "model")
    modules = json.loads((tmp_path / "model/modules.json").read_text())
    assert len(modules) == 2 + unit
    theirs = pytest.importorskip("sentence_transformers")
    vectors = theirs.SentenceTransformer(os.fspath(tmp_path / "model"), device="cpu").encode(TEXTS)
    tokens = WORDS.encode(TEXTS, 16)
    ours = encoder(tokens.ids, tokens.mask).detach().numpy()
    np.testing.assert_allclose(vectors, ours, atol=1e-5)


def test_what_has_no_place_is_refused(tmp_path):
    encoder, meta = made(pooler="avg_top2")
    with pytest.raises(UsageError, match="no pooling like avg_top2"):
        export_encoder("sentence-transformers", encoder, meta, tmp_path / "model")
    plain = ExportMeta(EncoderConfig(name="resnet8"), meta.inputs)
    with pytest.raises(UsageError, match="holds encoders of sentences, and resnet8 is none"):
        export_encoder("hf", encoder, plain, tmp_path / "model")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    encoder, meta = made()
    export_encoder("hf", encoder, meta, tmp_path / "model")
    with pytest.raises(UsageError, match="exists"):
        export_encoder("hf", encoder, meta, tmp_path / "model")
    (tmp_path / "model/extra").write_text("old")
    export_encoder("hf", encoder, meta, tmp_path / "model", overwrite=True)
    assert not (tmp_path / "model/extra").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
