"""`ssl sts-eval` and `ssl import` of an encoder of sentences."""

import json
from itertools import pairwise

import pytest
import torch
from transformers import BertConfig, BertModel

from sslcli.data.text.learned import learn_words

SHARED = {  # keys of every evaluation's JSON, as tests/cli/test_schema.py has them
    "schema", "command", "versions", "checkpoint", "step", "data", "metrics", "protocol",
    "intervals", "figures", "calibrator", "unreadable", "seconds", "device", "precision",
    "config_hash",
}  # fmt: skip
TEXTS = ["a dog runs", "the dog ran", "one cat sleeps", "a bird sings to the cat", "it rains"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of sentence-transformers: a tiny BERT, mean pooling, unit vectors."""
    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    words = learn_words(TEXTS, 64)
    (path / "tokenizer.json").write_text(words.text)
    small = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3}
    config = BertConfig(
        vocab_size=words.vocabulary, intermediate_size=48, max_position_embeddings=16, **small
    )
    BertModel(config).save_pretrained(path)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [{"path": p, "type": f"sentence_transformers.models.{k}"} for p, k in kinds]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    _pool(path, mean_tokens=True, max_tokens=False)
    return path


def _pool(path, **modes):
    named = {f"pooling_mode_{name}": on for name, on in modes.items()}
    (path / "1_Pooling/config.json").write_text(json.dumps(named))


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory, run_once):
    out = tmp_path_factory.mktemp("run") / "imported"
    run_once("import", folder, "--out", out, "--quiet")
    return out


@pytest.fixture
def pairs(tmp_path):
    """Return a table of pairs with scores."""
    rows = [f"{a},{b},{i % 6}" for i, (a, b) in enumerate(pairwise(TEXTS))]
    (tmp_path / "pairs.csv").write_text("\n".join(["sentence1,sentence2,score", *rows]))
    return tmp_path / "pairs.csv"


def test_an_imported_encoder_keeps_its_pooling(run, pairs, ssl):
    done = ssl("sts-eval", run, "--data", pairs, "--json", "--baseline")
    found = done.json
    assert found.keys() >= SHARED
    assert all(isinstance(each, float | int | None) for each in found["metrics"].values())
    assert "pooler avg" in found["protocol"]
    assert (found["metrics"]["n"], found["tasks"]["pairs"]["n"]) == (4, 4)
    assert found["metrics"]["untrained"] is not None
    assert found["data"]["note"] == "nothing is held out"
    plain = ssl("sts-eval", run, "--data", pairs)
    assert "Spearman all" in plain.out
    assert "alignment" in plain.out


def test_a_gate_and_a_plan(run, pairs, ssl):
    gate = ssl("sts-eval", run, "--data", pairs, "--require", "spearman>=2")
    assert (gate.code, "spearman" in gate.err) == (5, True)
    plan = ssl("sts-eval", run, "--data", pairs, "--dry-run", "--json")
    assert plan.json["images"] == {"pairs": 4}


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("sentence1,sentence2\na,b\n", 3, "these pairs have no scores"),
        ("sentence\na\n", 3, "not pairs of sentences"),
    ],
)
def test_what_has_no_scored_pairs_is_refused(text, code, told, run, tmp_path, ssl):
    (tmp_path / "own.csv").write_text(text)
    done = ssl("sts-eval", run, "--data", tmp_path / "own.csv")
    assert (done.code, told in done.err) == (code, True)


def test_a_read_out_that_is_none_of_ours_is_refused(folder, tmp_path, ssl):
    _pool(folder, max_tokens=True)
    done = ssl("import", folder, "--out", tmp_path / "no")
    assert (done.code, "the read-out max_tokens is none of ours" in done.err) == (2, True)
    _pool(folder, mean_tokens=True)


def test_a_run_without_its_tokenizer_says_so(run, pairs, tmp_path, ssl):
    (tmp_path / "checkpoint.safetensors").write_bytes((run / "checkpoint.safetensors").read_bytes())
    changed = ["--set", 'tokenizer.digest="0"']
    done = ssl("sts-eval", tmp_path, "--data", pairs, *changed)
    assert (done.code, "copy the run's tokenizer.json" in done.err) == (2, True)
