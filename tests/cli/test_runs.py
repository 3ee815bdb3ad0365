"""Training from the command line: start, stop, go on, repeat."""

import json
import shlex
import shutil
import tomllib

import numpy as np
import pytest
from PIL import Image

from sslcli.engine.checkpoint import load_checkpoint

PRETRAIN = ("pretrain", "--preset", "simsiam/digits")
SHORT = ("--set", 'train.duration="1 epochs"')


def hint_of(outcome):
    """Return the command line that a stopped run suggests, without the program."""
    (line,) = [line for line in outcome.err.splitlines() if "go on with: " in line]
    return shlex.split(line.split("go on with: ")[1])[1:]


@pytest.fixture
def photo():
    """Return a function that writes noise of 16 pixels as a PNG, whole or cut."""

    def write(path, *, is_cut):
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(int(path.stem)).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        if is_cut:
            path.write_bytes(path.read_bytes()[:400])

    return write


def test_pretrain_leaves_a_run_that_others_may_read(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"config.toml", "checkpoint.safetensors", "state", "metrics.jsonl"} <= names
    assert (trained / "checkpoint.safetensors").stat().st_mode & 0o077 != 0
    last = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"step", "loss", "embedding_std", "online_knn_top1"} <= last.keys()


def test_a_run_without_out_takes_the_next_free_folder(ssl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert ssl(*PRETRAIN, *SHORT, "--quiet").code == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["simsiam-digits", "simsiam-digits-2"]


@pytest.mark.parametrize("moment", ["check_free", "create_run"])
def test_two_processes_never_share_a_folder(tmp_path, monkeypatch, moment):
    from sslcli.config.presets import resolve
    from sslcli.engine.run_directory import create_run
    from sslcli.workflows import place

    monkeypatch.chdir(tmp_path)
    rest, rivals = getattr(place, moment), [1]

    def slow(run, overwrite):
        if rivals.pop():
            rivals.append(0)
            create_run(run, overwrite=False)
            (run / "config.toml").touch()
        rivals.append(0)
        return rest(run, overwrite=overwrite)

    monkeypatch.setattr(place, moment, slow)
    made = place.Place(None).make(resolve("simsiam/digits").config)
    assert made.name == "simsiam-digits-2"


def test_a_stopped_run_goes_on_by_the_line_it_prints(ssl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stopped = ssl(*PRETRAIN, *SHORT, "--max-time", "0s")
    assert stopped.code == 75
    words = [word for word in hint_of(stopped) if word not in ("--max-time", "0s")]
    assert ssl(*words).code == 0
    assert load_checkpoint(tmp_path / "runs" / "simsiam-digits").facts["step"] == 11


def test_a_complete_run_says_so_and_keeps_its_metrics(ssl, trained):
    outcome = ssl("pretrain", "--resume", "--out", trained, "--json")
    assert outcome.code == 0
    assert "complete" in outcome.err
    assert outcome.json["metrics"]["step"] == 22


@pytest.mark.parametrize(
    ("words", "began"),
    [
        (["--seed", "3"], "it began with seed=0\n"),
        (["--preset", "simsiam/cifar10"], "it began with "),
        (["--set", "views.0.size=7"], "it began with views.0.size=8\n"),
    ],
)
def test_a_resumed_run_keeps_its_config(ssl, trained, words, began):
    outcome = ssl("pretrain", "--resume", "--out", trained, *words)
    assert outcome.code == 2
    assert "keeps its config" in outcome.err
    assert began in outcome.err


def test_a_resumed_run_keeps_the_precision_that_it_began_with(ssl, trained, monkeypatch):
    monkeypatch.setenv("SSL_AUTO_PRECISION", "bf16")
    outcome = ssl("pretrain", "--resume", "--out", trained)
    assert "precision fp32 (as this run began)" in outcome.err


def test_a_resumed_run_may_keep_more_states(ssl, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    assert ssl("pretrain", "--resume", "--out", tmp_path / "run", "--keep", 7).code == 0
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["train"]["keep"] == 7


def test_overwrite_replaces_a_run(ssl, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert ssl(*PRETRAIN, *SHORT, "--out", run).code == 2
    assert ssl(*PRETRAIN, *SHORT, "--out", run, "--overwrite", "--quiet").code == 0
    assert load_checkpoint(run).facts["step"] == 11


def test_a_folder_of_images_trains_under_any_name(ssl, tmp_path, photos):
    run = tmp_path / "r\u00fcn 1"
    small = ("--set", "train.batch_size=8", "--set", "evaluation.k=3")
    assert ssl(*PRETRAIN, *SHORT, *small, "--data", photos, "--out", run, "--json").code == 0
    assert tomllib.loads((run / "config.toml").read_text("utf-8"))["data"]["source"] == str(photos)
    assert ssl("knn-eval", run, "--quiet").code == 0


def test_dry_run_shows_the_config_and_makes_nothing(ssl, tmp_path):
    outcome = ssl(*PRETRAIN, "--out", tmp_path / "run", "--dry-run", "--quiet")
    assert outcome.code == 0
    assert tomllib.loads(outcome.out.split("quantity")[0])["preset"] == "simsiam/digits"
    assert not (tmp_path / "run").exists()


def test_a_dry_run_does_not_read_the_whole_data(ssl, tmp_path, photo):
    """Photos of one size are decoded before a training, which finds that most of them are cut."""
    for number in range(40):
        photo(tmp_path / "photos" / f"{number:02}.png", is_cut=number >= 10)
    small = ("--set", "train.batch_size=8", "--set", "evaluation.k=3")
    words = (*PRETRAIN, *SHORT, *small, "--data", tmp_path / "photos", "--out", tmp_path / "run")
    assert ssl(*words).code == 3
    planned = ssl(*words, "--dry-run")
    assert planned.code == 0, planned.err
    assert "fits" in planned.out


def test_a_run_in_parts_says_at_its_start_what_they_change(ssl, tmp_path):
    outcome = ssl(*PRETRAIN, "--out", tmp_path / "run", "--dry-run", "--set", "train.accumulate=2")
    assert outcome.code == 0
    assert "train.accumulate = 2: BatchNorm's statistics are those of" in outcome.err


TUNE = ("--set", 'evaluation.finetune.duration="1 epochs"', "--label-fraction", "0.3")


def test_finetune_goes_on_by_the_line_it_prints(ssl, trained, tmp_path):
    out = tmp_path / "tuned \u00e9"
    stopped = ssl("finetune", trained, "--out", out, *TUNE, "--max-time", "0s")
    assert stopped.code == 75
    assert ssl("finetune", trained, "--out", out, "--resume").code == 2  # another recipe
    assert ssl("pretrain", "--out", out, "--resume").code == 2
    words = [word for word in hint_of(stopped) if word not in ("--max-time", "0s")]
    done = ssl(*words, "--json")
    assert done.code == 0
    assert "30.00% of the labels" in done.json["protocol"]


def test_finetune_never_replaces_its_own_checkpoint(ssl, trained):
    before = (trained / "checkpoint.safetensors").read_bytes()
    assert ssl("finetune", trained, *TUNE, "--out", trained, "--overwrite").code == 2
    assert (trained / "checkpoint.safetensors").read_bytes() == before


def test_the_papers_probe_repeats_over_seeds_and_goes_on(ssl, trained, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(trained / "checkpoint.safetensors", run)
    paper = ("--protocol", "paper", "--seeds", "0-1")
    words = ("linear-eval", run, *paper, "--set", 'evaluation.linear.duration="1 epochs"')
    stopped = ssl(*words, "--max-time", "0s")
    assert stopped.code == 75
    words = [word for word in hint_of(stopped) if word not in ("--max-time", "0s")]
    done = ssl(*words, "--json", "--require", "top1_deviation>=0").json
    assert done["over_seeds"]["top1"]["n"] == 2
    assert {"linear-probe", "linear-probe-seed1"} <= {path.name for path in run.iterdir()}
