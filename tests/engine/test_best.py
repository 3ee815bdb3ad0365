"""The best encoder of a run: when it is kept, when it is missed, and when a run ends for it."""

import on_ranks
import pytest
import torch
from test_trainer import StopAfter
from toy import Silent, toy_training

from sslcli.config.duration import Duration
from sslcli.engine.best import Best
from sslcli.engine.checkpoint import BEST, load_checkpoint
from sslcli.engine.log import Log, Probe
from sslcli.engine.stop import Stop
from sslcli.engine.trainer import resume, train
from sslcli.errors import StoppedError

VALUES = [0.0, 0.1, 0.2, 0.3, 0.28, 0.8, 0.7, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1]  # by step


def following(values=VALUES, **best):
    training = toy_training()
    training.best = Best("online", 0.1, keeps=True, **best)
    measure = lambda method: {"online": values[training.step]}  # noqa: E731
    return training, Probe(measure, Duration("1 steps"))


def run(folder, training, probe, stop=None):
    watcher = Silent()
    log = Log(folder / "metrics.jsonl", watcher)
    train(training, folder, {"data": {}}, log, stop or Stop(), probe)
    return watcher


def test_a_fall_is_told_once_until_there_is_a_better_one():
    best, told = Best("kNN", 0.1), []
    for step, value in enumerate([0.5, 0.46, 0.44, 0.40, None, 0.6, 0.3, float("nan"), 0.3]):
        best.take(step, value, told.append)
    assert [line.split("kNN is ")[1] for line in told] == [
        "0.4400 at step 2, was 0.5000 at step 0, its best",
        "0.3000 at step 6, was 0.6000 at step 5, its best",
    ]
    assert (best.value, best.step, best.since) == (0.6, 5, 2)


def test_the_best_weights_are_kept_beside_the_newest(tmp_path):
    (tmp_path / "five").mkdir()
    five, probe = following()
    with pytest.raises(StoppedError):
        run(tmp_path / "five", five, probe, StopAfter(five, 5))
    watcher = run(tmp_path, *following())
    assert load_checkpoint(tmp_path).facts["step"] == 12
    best = load_checkpoint(tmp_path / BEST)
    assert (best.facts["step"], best.facts["metrics"]["online"]) == (5, 0.8)
    for name, value in best.tensors().items():
        assert torch.equal(value, five.method.state_dict()[name]), name
    assert [note.split(":")[0] for note in watcher.warnings] == ["the encoder gets worse"]


def test_patience_ends_a_run_with_its_state_saved(tmp_path):
    training, probe = following(patience=3)
    run(tmp_path, training, probe)
    facts = load_checkpoint(tmp_path).facts
    assert (training.step, facts["step"]) == (8, 8)
    assert facts["best"]["ended_early"]
    assert (facts["best"]["value"], facts["best"]["step"]) == (0.8, 5)
    assert training.best.why_over() == "no better online in 3 measurements than 0.8000 at step 5"


@pytest.mark.parametrize("step", [4, 5, 7])
def test_a_resumed_run_decides_as_one_never_stopped(tmp_path, step):
    training, probe = following(patience=3)
    with pytest.raises(StoppedError):
        run(tmp_path, training, probe, StopAfter(training, step))
    if step == 5:
        (tmp_path / BEST).unlink()  # as if killed between the state and its second name
    again, probe = following(patience=3)
    assert resume(again, tmp_path) == []
    run(tmp_path, again, probe)
    assert (again.step, load_checkpoint(tmp_path / BEST).facts["step"]) == (8, 5)


def test_a_best_file_that_is_gone_is_told_and_made_anew(tmp_path):
    training, probe = following()
    with pytest.raises(StoppedError):
        run(tmp_path, training, probe, StopAfter(training, 7))
    (tmp_path / BEST).unlink()
    again, probe = following()
    (remark,) = resume(again, tmp_path)
    assert "not of step 5" in remark
    run(tmp_path, again, probe)
    assert load_checkpoint(tmp_path / BEST).facts["step"] == 8


def test_another_measurement_begins_anew(tmp_path):
    training, probe = following()
    with pytest.raises(StoppedError):
        run(tmp_path, training, probe, StopAfter(training, 6))
    again, _ = following()
    again.best.metric = "other"
    assert resume(again, tmp_path) == []
    assert again.best.value is None


@pytest.mark.ddp
def test_the_first_process_decides_and_all_stop_together(two, tmp_path):
    assert two(on_ranks.ends_early, tmp_path, VALUES) == [(7, 5, True)] * 2
    assert load_checkpoint(tmp_path / BEST).facts["step"] == 5
