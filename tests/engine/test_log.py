"""Rows: what they hold, when they are written, and by whom."""

import json
from dataclasses import replace
from itertools import islice

import on_ranks
import pytest
import torch
from toy import Silent, ToyLoader, toy_training

from sslcli.config.duration import Duration
from sslcli.engine.log import Log, Probe
from sslcli.engine.loop import train_step
from sslcli.errors import DataError, UnhealthyError


class SlowLoader(ToyLoader):
    """Claims to have waited, and to have met an unreadable image."""

    waited = 1e9

    @property
    def bad(self):
        return {3: "photos/3.jpg: cut short"}


class FullBoard:
    """A logger whose disk is full."""

    def write(self, row, step):
        raise OSError(28, "no space left")

    def close(self):
        pass


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def logged(tmp_path, training, steps=2):
    watcher = Silent()
    log = Log(tmp_path / "metrics.jsonl", watcher)
    batches = training.loader.epoch(0)
    for _ in range(steps):
        result = train_step(training, [next(batches)])
        log.add(training, result)
    log.row(training, result)
    return log, watcher


def test_a_row_is_written_when_it_settles_at_the_next_step(tmp_path):
    training = toy_training()
    log, watcher = logged(tmp_path, training)
    assert watcher.rows == []
    log.add(training, train_step(training, [next(training.loader.epoch(0))]))
    assert [row["step"] for row in watcher.rows] == [2]
    log.settle()
    assert [row["step"] for row in rows(tmp_path / "metrics.jsonl")] == [2]


def test_a_row_averages_the_steps_since_the_last_one(tmp_path):
    again, batches = toy_training(), ToyLoader().epoch(0)
    losses = [train_step(again, [next(batches)]).loss.item() for _ in range(2)]
    log, watcher = logged(tmp_path, toy_training())
    log.settle()
    assert watcher.rows[0]["loss"] == pytest.approx(sum(losses) / 2, rel=1e-6)
    assert list(watcher.rows[0])[:3] == ["step", "epoch", "loss"]
    assert "weights_finite" not in watcher.rows[0]


def test_waiting_and_unreadable_images_are_told(tmp_path):
    training = toy_training()
    training.loader = SlowLoader()
    log, watcher = logged(tmp_path, training)
    log.settle()
    assert watcher.rows[0]["data_wait"] == 1.0
    assert watcher.warnings == [
        "unreadable image, another stands in for it: photos/3.jpg: cut short"
    ]


def test_embeddings_that_are_not_finite_do_not_break_the_row(tmp_path):
    training = toy_training()
    log, _ = logged(tmp_path, training)
    result = train_step(training, [next(training.loader.epoch(0))])
    result.output.embeddings[0, 0] = torch.nan
    log.add(training, result)
    log.row(training, result)
    log.settle()
    assert rows(tmp_path / "metrics.jsonl")[-1]["effective_rank"] is None


def test_guards_know_the_rows_before_the_step_that_a_run_goes_on_from(tmp_path):
    file, training = tmp_path / "metrics.jsonl", toy_training()
    told = [(2, 0.1), (4, None), (6, 0.1), (40, 1e6)]  # the last of another run's end
    lines = [json.dumps({"step": s, "loss": loss, "data_wait": 0.0}) for s, loss in told]
    file.write_text("\n".join([*lines, '{"step": 5, "lo']))
    training.step = 30
    log, batch = Log(file, Silent()), next(training.loader.epoch(0))
    result = train_step(training, [batch])
    log.add(training, replace(result, loss=torch.tensor(500.0)))
    log.row(training, result)
    with pytest.raises(UnhealthyError, match=r"exploded from 0\.1 to 500"):
        log.settle()


@pytest.mark.ddp
def test_processes_write_one_row_with_the_mean_of_all(two, tmp_path):
    first, second = two(on_ranks.logs, tmp_path)
    (row,) = rows(tmp_path / "metrics.jsonl")
    assert row["loss"] == pytest.approx((first + second) / 2, rel=1e-6)


def test_a_monitor_that_fails_warns_once_and_training_goes_on(tmp_path):
    training, watcher = toy_training(), Silent()
    log = Log(tmp_path / "metrics.jsonl", watcher, {"wandb": FullBoard()})

    def probe(method):
        raise DataError("3 of 30 images are unreadable", "photos/3.jpg")

    for batch in islice(training.loader.epoch(0), 2):
        result = train_step(training, [batch])
        log.add(training, result)
        log.row(training, result, Probe(probe, Duration("1 steps")))
        log.settle()
    assert len(rows(tmp_path / "metrics.jsonl")) == 2
    assert [note for note in watcher.warnings if "photos/3.jpg" in note] == [
        "the encoder could not be measured: "
        "3 of 30 images are unreadable (photos/3.jpg); training goes on"
    ]
    assert len([note for note in watcher.warnings if "wandb gets no more rows" in note]) == 1
