"""States and the checkpoint that points at the newest."""

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from toy import toy_training

from sslcli.engine.checkpoint import load_checkpoint
from sslcli.engine.state import save_state
from sslcli.engine.trainer import resume, save
from sslcli.errors import ResourceError


def test_resuming_points_the_checkpoint_at_the_state(tmp_path):
    """A process killed between state and checkpoint leaves the older checkpoint behind."""
    training = toy_training()
    for step in (1, 2):
        training.step = step
        save(training, tmp_path, {"metrics": {}})
    old = tmp_path / "state" / "step-00000001" / "model.safetensors"
    (tmp_path / "checkpoint.safetensors").unlink()
    (tmp_path / "checkpoint.safetensors").hardlink_to(old)
    resume(toy_training(), tmp_path)
    assert load_checkpoint(tmp_path).facts["step"] == 2


def test_resuming_keeps_what_was_added_to_a_checkpoint_of_the_same_step(tmp_path):
    training = toy_training()
    training.step = 2
    save(training, tmp_path, {"metrics": {}})
    file = tmp_path / "checkpoint.safetensors"
    with safe_open(file, framework="pt") as opened:
        metadata = {**opened.metadata(), "note": "calibrated"}
    tensors = load_file(file)
    file.unlink()  # the state's model is the same file
    save_file(tensors, file, metadata)
    resume(toy_training(), tmp_path)
    with safe_open(file, framework="pt") as opened:
        assert opened.metadata()["note"] == "calibrated"


def test_resuming_mends_a_checkpoint_of_the_same_step_that_was_altered(tmp_path):
    training = toy_training()
    training.step = 2
    save(training, tmp_path, {"metrics": {}})
    file = tmp_path / "checkpoint.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(content)
    resume(toy_training(), tmp_path)
    assert file.samefile(tmp_path / "state" / "step-00000002" / "model.safetensors")


def test_a_disk_that_fills_up_is_told_and_leaves_no_half_state(tmp_path):
    def fill(path):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with pytest.raises(ResourceError, match="No space left") as caught:
        save_state(tmp_path, 1, fill, {}, {}, {}, keep=1)
    assert "free some space" in caught.value.hint
    assert list((tmp_path / "state").iterdir()) == []


def test_old_states_go_and_everyone_may_read_the_rest(tmp_path):
    def write(path):
        save_file({"a": torch.zeros(1)}, path)

    for step in (1, 2, 3):
        save_state(tmp_path, step, write, {"optimizer": {"b": torch.ones(1)}}, {}, {}, keep=2)
    kept = sorted((tmp_path / "state").iterdir())
    assert [folder.name for folder in kept] == ["step-00000002", "step-00000003"]
    for file in kept[0].iterdir():
        assert file.stat().st_mode & 0o400
        assert (file.stat().st_mode & 0o777) == (kept[0] / "state.json").stat().st_mode & 0o777
