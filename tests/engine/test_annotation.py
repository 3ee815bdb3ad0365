import os

import pytest
import torch

from sslcli.config.presets import resolve
from sslcli.engine import annotation
from sslcli.engine.annotation import annotate_checkpoint
from sslcli.engine.checkpoint import load_checkpoint, save_checkpoint
from sslcli.errors import ResourceError
from sslcli.files import sha256

TENSORS = {
    "a": torch.randn(3, 5),
    "half": torch.randn(7).bfloat16(),
    "count": torch.tensor(4),
}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    save_checkpoint(file, TENSORS, resolve("simsiam/digits").config, {"step": 7})
    return file


def test_facts_are_added_and_tensors_stay_bit_for_bit(path):
    before = load_checkpoint(path)
    for value in ({"deep": [1.5, "\u00e9"]}, {"deep": [0.1]}):
        annotate_checkpoint(path, {"note": value})
        after = load_checkpoint(path)
        assert after.facts == {**before.facts, "note": value}
        assert after.config == before.config
        found = after.tensors()
        assert found.keys() == TENSORS.keys()
        assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_a_state_that_shares_the_file_keeps_its_own(path, tmp_path):
    model = tmp_path / "model.safetensors"
    os.link(path, model)
    before = sha256(model)
    annotate_checkpoint(path, {"note": 1})
    assert sha256(model) == before
    assert "note" not in load_checkpoint(model).facts
    assert load_checkpoint(path).facts["note"] == 1


def test_a_link_goes_on_pointing_at_the_checkpoint(path, tmp_path):
    link = tmp_path / "best.safetensors"
    link.symlink_to(path)
    annotate_checkpoint(link, {"note": 1})
    assert link.is_symlink()
    assert load_checkpoint(path).facts["note"] == 1


def test_a_disk_that_fills_up_leaves_the_checkpoint_as_it_was(path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = sha256(path)
    monkeypatch.setattr(annotation.shutil, "copyfileobj", full)
    with pytest.raises(ResourceError):
        annotate_checkpoint(path, {"note": 1})
    assert sha256(path) == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
