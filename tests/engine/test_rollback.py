"""Going back when a run becomes unhealthy, and giving up."""

import json

import pytest
import torch
from toy import Silent, ToyMethod, toy_training

from sslcli.engine.log import Log
from sslcli.engine.rollback import train_with_rollbacks
from sslcli.engine.state import saved_states
from sslcli.engine.stop import Stop
from sslcli.errors import UnhealthyError


class Unlucky(ToyMethod):
    """Diverges at some steps the first few times that it comes by; saves follow steps 3, 6, 9."""

    def __init__(self, faults, loss):
        super().__init__()
        self.faults, self.loss, self.noise = list(faults), loss, []

    def forward(self, batch, progress):
        output = super().forward(batch, progress)
        self.noise.append((progress.step, torch.get_rng_state().sum().item()))
        if self.faults and progress.step == self.faults[0]:
            self.faults.pop(0)
            output.loss.data.fill_(self.loss)
        return output


def run(folder, faults, rollbacks, loss=float("nan"), **train):
    training, watcher = toy_training(rollbacks=rollbacks, **train), Silent()
    method = Unlucky(faults, loss)
    method.load_state_dict(training.method.state_dict())
    training.method = training.model = method
    training.optimizer.param_groups[0]["params"] = list(method.parameters())
    log = Log(folder / "metrics.jsonl", watcher)
    return train_with_rollbacks(training, folder, {"data": {}}, log, Stop()), method, watcher


def test_an_unhealthy_run_goes_back_with_other_noise_and_ends_well(tmp_path):
    last, method, watcher = run(tmp_path, [7], rollbacks=2)
    assert last["step"] == 12
    assert last["rollbacks"] == 1
    assert "going back to step 6 with other noise (1 of 2)" in watcher.warnings[0]
    seen = [noise for step, noise in method.noise if step == 6]
    assert len(seen) == 2
    assert seen[0] != seen[1]
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows]
    assert steps == sorted(set(steps))


def test_a_loss_of_a_billion_goes_back_too(tmp_path):
    last, _, watcher = run(tmp_path, [7], rollbacks=2, loss=1e9)
    assert (last["step"], last["rollbacks"]) == (12, 1)
    assert "exploded" in watcher.warnings[0]


def test_a_loss_that_explodes_again_after_going_back_is_compared_with_what_it_was(tmp_path):
    _, _, watcher = run(tmp_path, [30] * 2, rollbacks=2, loss=1e6, duration="9 epochs")
    assert [note.count("exploded") for note in watcher.warnings] == [1, 1]


def test_failing_again_before_a_save_goes_back_by_one_more_state(tmp_path):
    _, _, watcher = run(tmp_path, [7, 7], rollbacks=2)
    assert "step 6" in watcher.warnings[0]
    assert "step 3" in watcher.warnings[1]


@pytest.mark.parametrize(("faults", "rollbacks", "said"), [([7] * 3, 2, "2 times"), ([7], 0, "")])
def test_too_many_faults_end_the_run_with_a_state_left(tmp_path, faults, rollbacks, said):
    with pytest.raises(UnhealthyError, match=said or "finite"):
        run(tmp_path, faults, rollbacks)
    assert saved_states(tmp_path)


def test_a_fault_before_the_first_state_ends_the_run(tmp_path):
    with pytest.raises(UnhealthyError):
        run(tmp_path, [1], rollbacks=2)
