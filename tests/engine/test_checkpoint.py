"""Checkpoints: no pickles, strict metadata, tensors as they were."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from toy import toy_config

from sslcli.engine.checkpoint import load_checkpoint, save_checkpoint, storable
from sslcli.errors import CheckpointError


def test_tensors_and_facts_come_back(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    tensors = {"encoder.weight": torch.arange(6.0).reshape(2, 3).t(), "head.bias": torch.ones(2)}
    save_checkpoint(file, tensors, toy_config(), {"step": 3})
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == toy_config()
    assert loaded.facts["step"] == 3
    assert set(loaded.facts["versions"]) == {"sslcli", "python", "torch"}
    assert torch.equal(loaded.tensors("encoder.")["weight"], tensors["encoder.weight"])


def test_metadata_is_strict_json(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    save_checkpoint(file, {"a": torch.ones(1)}, toy_config(), {"metrics": {"loss": float("nan")}})
    with safe_open(file, framework="pt") as opened:
        text = opened.metadata()["sslcli"]
    assert "NaN" not in text
    assert json.loads(text)["facts"]["metrics"]["loss"] is None


def test_shared_memory_is_copied_once():
    whole = torch.arange(4.0)
    kept = storable({"a": whole, "b": whole, "c": whole[:2]})
    assert len({tensor.data_ptr() for tensor in kept.values()}) == 3
    assert torch.equal(kept["c"], whole[:2])


@pytest.mark.parametrize("ending", [".pt", ".pth", ".ckpt", ".bin", ".pkl"])
def test_pickles_are_never_opened(tmp_path, ending):
    file = tmp_path / f"model{ending}"
    file.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(CheckpointError, match="weights of another code"):
        load_checkpoint(file)


def test_a_file_that_is_no_checkpoint_is_damaged(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(file)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda described: described["config"]["encoder"].update(width=-1), "config.encoder.width"),
        (lambda described: described["config"].pop("method"), "config.method"),
        (lambda described: described.pop("facts"), "'facts'"),
        (lambda described: described.update(schema=[]), "TypeError"),
    ],
)
def test_an_altered_description_names_what_is_wrong(tmp_path, change, what):
    file = tmp_path / "checkpoint.safetensors"
    described = {"schema": 1, "config": toy_config().model_dump(mode="json"), "facts": {}}
    change(described)
    save_file({"a": torch.ones(1)}, file, metadata={"sslcli": json.dumps(described)})
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(file)
    assert what in caught.value.what


def test_a_file_of_holes_is_no_checkpoint(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    file.touch()
    os.truncate(file, 2**40)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(file)
