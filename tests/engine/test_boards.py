"""Other loggers get the rows of metrics.jsonl, on this machine, and go on with a resumed run."""

import json
import math
import os
from importlib import metadata

import pytest
from toy import toy_config

from sslcli.engine import boards
from sslcli.errors import UsageError

ROWS = [{"step": 2, "epoch": 0.5, "loss": 1.5}, {"step": 4, "epoch": 1.0, "loss": math.nan}]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """Let what boards put into the environment be gone after a test."""
    for name in (
        "WANDB_MODE",
        "MLFLOW_TRACKING_URI",
        *(n for v in boards._LOCAL.values() for n in v),
    ):
        monkeypatch.setenv(name, "")  # so that it is put back as it was
        monkeypatch.delenv(name)


def need(*packages):
    for package in packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")


def wrote(folder, name, rows, monkeypatch):
    """Start a run's logger, tell it rows, and end it; return nothing but what is on the disk."""
    installed = boards._is_installed
    monkeypatch.setattr(boards, "_is_installed", lambda each: each == name and installed(each))
    folder.mkdir(exist_ok=True)
    (board,) = boards.open_boards(folder, toy_config(log=name)).values()
    for row in rows:
        board.write(boards.numbers(row), row["step"])
    board.close()


def test_only_finite_numbers_go_out():
    assert boards.numbers({**ROWS[1], "note": "words", "rank": None}) == {"epoch": 1.0}


def test_tensorboard_gets_every_number_at_its_step(tmp_path, monkeypatch):
    need("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    wrote(tmp_path, "tensorboard", ROWS, monkeypatch)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in found.Scalars("epoch")] == [(2, 0.5), (4, 1.0)]
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(2, 1.5)]


def test_mlflow_goes_on_in_the_run_that_it_began(tmp_path, monkeypatch):
    need("mlflow-skinny")
    wrote(tmp_path / "run", "mlflow", ROWS[:1], monkeypatch)
    wrote(tmp_path / "run", "mlflow", ROWS[1:], monkeypatch)
    number = (tmp_path / "run" / "mlflow.run").read_text()
    (kept,) = (tmp_path / "run" / "mlflow").glob(f"*/{number}")
    lines = [line.split() for line in (kept / "metrics" / "epoch").read_text().splitlines()]
    assert [(step, float(value)) for _, value, step in lines] == [("2", 0.5), ("4", 1.0)]
    assert (kept / "params" / "optimizer.base_lr").read_text() == "0.1"


def test_wandb_stays_offline_and_keeps_its_number(tmp_path, monkeypatch):
    need("wandb")
    for rows in (ROWS[:1], ROWS[1:]):
        wrote(tmp_path / "run", "wandb", rows, monkeypatch)
    number = (tmp_path / "run" / "wandb.run").read_text()
    assert "WANDB_MODE" not in os.environ  # the user's own use of it stays as it was
    files = [*(tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{number}.wandb")]
    assert len(files) in (1, 2)  # two starts within a second share a folder
    assert b"loss" in b"".join(file.read_bytes() for file in files)


def test_trackio_goes_on_in_the_run_that_it_began(tmp_path, monkeypatch, capsys):
    need("trackio")
    import sqlite3

    from trackio import context_vars, sqlite_storage, utils

    for module in (sqlite_storage, utils):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "store")
    for rows in (ROWS[:1], ROWS[1:]):
        wrote(tmp_path / "run", "trackio", rows, monkeypatch)
    assert capsys.readouterr().out == ""
    assert context_vars.current_run.get() is None
    name = (tmp_path / "run" / "trackio.run").read_text()
    assert name.startswith("run-")
    with sqlite3.connect(tmp_path / "store" / "sslcli.db") as opened:
        query = "select step, metrics from metrics where run_name = ? order by step"
        found = [(step, json.loads(row)) for step, row in opened.execute(query, [name])]
    assert [(step, row["epoch"]) for step, row in found] == [(2, 0.5), (4, 1.0)]


def test_a_missing_logger_is_refused_with_its_extra(monkeypatch):
    monkeypatch.setattr(boards, "_is_installed", lambda name: False)
    with pytest.raises(UsageError, match="trackio is not installed") as caught:
        boards.need_logger(toy_config(log="trackio"))
    assert "sslcli[trackio]" in caught.value.hint
    boards.need_logger(toy_config())
