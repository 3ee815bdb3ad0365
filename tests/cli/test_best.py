"""`ssl pretrain --best` keeps the best weights, which every evaluation takes."""

import json
import shutil

import pytest
from PIL import Image

from sslcli.engine.checkpoint import load_checkpoint

SHORT = ("--preset", "simsiam/digits", "--set", "encoder.width=4", "--set", "evaluation.k=5")
SETS = ("--set", 'train.duration="8 epochs"', "--set", 'evaluation.online_every="2 steps"')


@pytest.fixture(scope="module")
def kept(tmp_path_factory, run_once):
    folder = tmp_path_factory.mktemp("best") / "run"
    run_once("pretrain", *SHORT, *SETS, "--best", "linear", "--patience", 1, "--out", folder)
    return folder


def test_the_best_is_that_of_the_log_and_the_run_ends_when_patience_does(kept):
    rows = [json.loads(line) for line in (kept / "metrics.jsonl").read_text().splitlines()]
    measured = [
        (row["online_linear_top1"], row["step"]) for row in rows if "online_knn_top1" in row
    ]
    best, step = max(measured, key=lambda row: (row[0], -row[1]))
    facts = load_checkpoint(kept).facts["best"]
    assert (facts["value"], facts["step"]) == (best, step)
    assert load_checkpoint(kept / "best.safetensors").facts["step"] == step
    assert facts["ended_early"]
    assert measured[-2][1] == step


def test_the_best_is_a_checkpoint(ssl, kept):
    outcome = ssl("knn-eval", kept / "best.safetensors", "--json")
    assert outcome.code == 0
    assert outcome.json["step"] == load_checkpoint(kept).facts["best"]["step"]
    assert json.loads((kept / "results.jsonl").read_text())["checkpoint"].endswith(
        "best.safetensors"
    )


def test_what_is_best_is_printed(ssl, tmp_path):
    words = ("--best", "rank", "--set", 'train.duration="2 steps"', "--out", tmp_path / "run")
    outcome = ssl("pretrain", *SHORT, *words, "--json")
    told = outcome.json["best"]
    assert told["checkpoint"] == str(tmp_path / "run" / "best.safetensors")
    assert f"best online_rank {told['value']:.4f} at step {told['step']}" in outcome.err


def test_a_run_that_had_ended_before_tells_of_a_best_only_if_it_is_kept(ssl, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    outcome = ssl("pretrain", "--resume", "--out", tmp_path / "run", "--best", "knn", "--json")
    assert outcome.code == 0
    assert ("best" in outcome.json) == (tmp_path / "run" / "best.safetensors").exists()


def test_a_run_whose_patience_has_ended_goes_on_only_with_more(ssl, kept):
    again = ssl("pretrain", "--resume", "--out", kept)
    assert (again.code, "this run has ended at step" in again.err) == (0, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [(("--best", "knn"), "has no two classes"), (("--patience", 3), "patience needs best")],
)
def test_what_cannot_tell_the_best_is_refused_and_no_run_made(ssl, tmp_path, words, told):
    data = tmp_path / "data"
    data.mkdir()
    for row in range(16):
        Image.new("RGB", (8, 8), (9 * row, 50, 90)).save(data / f"{row}.png")
    sets = ("--set", "train.batch_size=8", "--data", data, "--out", tmp_path / "run")
    outcome = ssl("pretrain", *SHORT, *sets, *words)
    assert (outcome.code, told in outcome.err) == (2, True)
    assert not (tmp_path / "run").exists()
