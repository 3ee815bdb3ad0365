"""States and the checkpoint that points at the newest."""

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
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
