"""Saving, resuming and stopping, bit for bit."""

import json
import math
import signal

import pytest
import torch
from toy import Silent, ToyLoader, piecewise, toy_training

from sslcli.engine.checkpoint import load_checkpoint
from sslcli.engine.log import Log
from sslcli.engine.loop import train_step
from sslcli.engine.state import newest_state
from sslcli.engine.stop import Stop
from sslcli.engine.trainer import resume, train
from sslcli.errors import CheckpointError, StoppedError, UnhealthyError


def run(training, folder, stop=None):
    return train(
        training, folder, {"data": {}}, Log(folder / "metrics.jsonl", Silent()), stop or Stop()
    )


class StopAfter(Stop):
    """Ask to stop once a step is done."""

    def __init__(self, training, step):
        super().__init__()
        self.training, self.step = training, step

    def reason(self):
        return "SIGTERM" if self.training.step >= self.step else ""


def weights(training):
    return {name: value.clone() for name, value in training.method.state_dict().items()}


@pytest.mark.parametrize("step", [1, 4, 5, 11])
def test_a_stopped_and_resumed_run_equals_one_never_stopped(tmp_path, step):
    (tmp_path / "whole").mkdir()
    whole = toy_training()
    run(whole, tmp_path / "whole")
    stopped = toy_training()
    with pytest.raises(StoppedError):
        run(stopped, tmp_path, StopAfter(stopped, step))
    resumed = toy_training()
    torch.manual_seed(999)
    assert resume(resumed, tmp_path) == []
    assert resumed.step == step
    run(resumed, tmp_path)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_resumed_run_of_uneven_parts_equals_one_never_stopped(tmp_path, step):
    plan = {"batch_size": 32, "accumulate": 4}  # three steps an epoch, the last of 8 and 1 images
    whole, stopped, resumed = (piecewise(73, **plan) for _ in range(3))
    (tmp_path / "whole").mkdir()
    run(whole, tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(stopped, tmp_path, StopAfter(stopped, step))
    resume(resumed, tmp_path)
    run(resumed, tmp_path)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_state_keeps_the_newest_and_checkpoint_is_its_model(tmp_path):
    run(toy_training(keep=2), tmp_path)
    names = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert names == ["step-00000009", "step-00000012"]
    model = tmp_path / "state" / names[-1] / "model.safetensors"
    assert model.read_bytes() == (tmp_path / "checkpoint.safetensors").read_bytes()
    assert load_checkpoint(tmp_path).facts["step"] == 12


def test_resuming_removes_the_states_that_a_kill_left_too_old(tmp_path):
    run(toy_training(keep=9), tmp_path)
    states = sorted((tmp_path / "state").iterdir())
    assert len(states) > 2
    resume(toy_training(keep=2), tmp_path)
    assert sorted((tmp_path / "state").iterdir()) == states[-2:]


def test_a_damaged_state_is_named_and_the_one_before_is_used(tmp_path):
    run(toy_training(), tmp_path)
    file = tmp_path / "state" / "step-00000012" / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    state, remarks = newest_state(tmp_path)
    assert state.step == 9
    assert "step-00000012" in remarks[0]
    assert "checksum" in remarks[0]


def test_nothing_to_resume_is_an_error(tmp_path):
    with pytest.raises(CheckpointError):
        resume(toy_training(), tmp_path)


def test_metrics_are_json_lines_with_the_collapse_monitors(tmp_path):
    run(toy_training(), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 3, 4, 6, 8, 9, 10, 12]
    assert {"loss", "lr", "images_per_second", "embedding_std", "effective_rank"} <= rows[0].keys()


class PoisonedLoader(ToyLoader):
    def epoch(self, epoch, start=0):
        for index, batch in enumerate(super().epoch(epoch, start), start):
            if (epoch, index) == (1, 1):
                batch.views[0].fill_(float("nan"))
            yield batch


def test_a_loss_that_is_not_finite_stops_with_the_last_state_intact(tmp_path):
    training = toy_training()
    training.loader = PoisonedLoader()
    with pytest.raises(UnhealthyError, match=r"nan.*by step 6"):
        run(training, tmp_path)
    assert newest_state(tmp_path)[0].step == 3
    assert all(v.isfinite().all() for v in load_checkpoint(tmp_path).tensors().values())


@pytest.mark.parametrize("spoil", ["buffer", "optimizer"])
def test_nothing_that_is_not_finite_is_saved_beside_finite_weights(tmp_path, monkeypatch, spoil):
    training = toy_training()

    def forget(method, progress, carry):
        if progress.step == 5 and spoil == "buffer":
            method.seen.fill_(math.inf)
        elif progress.step == 6 and spoil == "optimizer":
            next(iter(training.optimizer.state.values()))["momentum_buffer"].fill_(math.nan)

    monkeypatch.setattr(type(training.method), "after_step", forget)
    with pytest.raises(UnhealthyError, match="ceased to be finite by step 6"):
        run(training, tmp_path)
    assert newest_state(tmp_path)[0].step == 3


def test_collapse_warns_once_or_stops(tmp_path):
    training = toy_training(on_collapse="stop")
    for parameter in training.method.parameters():
        torch.nn.init.zeros_(parameter)
    with pytest.raises(UnhealthyError, match="collapsed"):
        run(training, tmp_path)


def test_embeddings_on_a_line_count_as_collapsed(tmp_path):
    """One sample against all others: BatchNorm keeps the deviation up, the rank tells."""
    training = toy_training(on_collapse="stop")
    linear = training.method.encoder[1]
    with torch.no_grad():
        linear.weight.copy_(linear.weight[:1].expand_as(linear.weight))
        linear.bias.zero_()
    with pytest.raises(UnhealthyError, match="line"):
        run(training, tmp_path)


def test_accumulated_parts_make_one_step_of_the_whole_batch():
    whole, parts = toy_training(), toy_training(accumulate=2, batch_size=16)
    batches = list(ToyLoader().epoch(0))[:2]
    train_step(parts, batches)
    assert parts.step == 1
    assert parts.total_steps == 6
    train_step(whole, batches[:1])
    carried = parts.method.seen
    assert carried.shape == whole.method.seen.shape
    assert not torch.equal(carried, whole.method.seen)


def test_signals_are_noted_and_handlers_restored():
    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        assert stop.reason() == ""
        signal.raise_signal(signal.SIGTERM)
        assert stop.reason() == "SIGTERM"
        assert stop.error(stop.reason(), 3, "runs/x").exit_code == 75
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_saves_and_a_second_one_ends_at_once():
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.error(stop.reason(), 3, "runs/x").exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_time_limit_stops():
    assert Stop(0.0).reason() == "the time limit"
    assert Stop(60.0).reason() == ""
