"""`--log` sends rows to another logger, from training and from fine-tuning."""

import json

import pytest

from sslcli.engine import boards

SHORT = (
    "--preset",
    "simsiam/digits",
    "--set",
    "encoder.width=4",
    "--set",
    'train.log_every="1 steps"',
)


class Kept:
    """A logger that keeps rows in a file of the run."""

    def __init__(self, run, config):
        self.file = run / "kept.jsonl"

    def write(self, row, step):
        with self.file.open("a") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")

    def close(self):
        with self.file.open("a") as file:
            file.write("{}\n")


@pytest.fixture(autouse=True)
def _kept(monkeypatch):
    monkeypatch.setattr(boards, "_is_installed", lambda name: name == "wandb")
    monkeypatch.setitem(boards._BOARDS, "wandb", Kept)


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_rows_are_those_of_the_file_and_a_resumed_run_goes_on(ssl, tmp_path):
    run = tmp_path / "run"
    words = ("--set", 'train.duration="2 steps"', "--log", "wandb", "--out", run)
    assert ssl("pretrain", *SHORT, *words).code == 0
    assert ssl("pretrain", "--resume", "--out", run, "--set", 'train.duration="3 steps"').code == 0
    kept = rows(run / "kept.jsonl")
    assert [row.get("step") for row in kept] == [1, 2, None, 3, None]
    assert [row for row in kept if row] == rows(run / "metrics.jsonl")
    tune = ("--set", 'evaluation.finetune.duration="1 steps"')
    assert ssl("finetune", run, *tune, "--log", "wandb").code == 0
    assert rows(run / "finetune" / "kept.jsonl")[0]["step"] == 1
    assert ssl("finetune", run, *tune, "--out", tmp_path / "unlogged").code == 0
    assert not (tmp_path / "unlogged" / "kept.jsonl").exists()


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_logger_that_is_missing_is_refused_before_anything_is_made(
    ssl, trained, tmp_path, command
):
    words = SHORT if command == "pretrain" else (trained,)
    outcome = ssl(command, *words, "--log", "mlflow", "--out", tmp_path / "run")
    assert outcome.code == 2
    assert "pip install 'sslcli[mlflow]', or leave --log out" in outcome.err
    assert not (tmp_path / "run").exists()
