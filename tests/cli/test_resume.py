"""Runs that go on: with the same data wherever it lies, for longer, and as they began."""

import json
import shutil
import tomllib

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sslcli.engine.checkpoint import load_checkpoint
from sslcli.files import sha256, to_json

SMALL = ("--set", "train.batch_size=8", "--set", "evaluation.k=3", "--quiet")
PRETRAIN = ("pretrain", "--preset", "simsiam/digits", *SMALL, "--set", 'train.duration="2 steps"')
LONGER = ("--set", 'train.duration="3 steps"')


def write(root, seed):
    rng = np.random.default_rng(seed)
    for name in "ab":
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(8):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.bmp")
    return root


@pytest.fixture(scope="module")
def first(tmp_path_factory, run_once):
    """Return a folder with data in `set` and in `run` a finished run, trained from within."""
    home = tmp_path_factory.mktemp("home")
    write(home / "set", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        run_once(*PRETRAIN, "--data", "set", "--out", "run")
    return home


@pytest.fixture
def home(first, tmp_path, monkeypatch):
    """Return a copy of the data and the run, which does not know of the place it was copied to."""
    shutil.copytree(first, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def describe(run, change):
    """Rewrite what every state of a run says of itself."""
    for file in [run / "checkpoint.safetensors", *run.glob("state/*/model.safetensors")]:
        with safe_open(file, "pt") as opened:
            described = json.loads(opened.metadata()["sslcli"])
        change(described)
        tensors = load_file(file)
        file.unlink()
        save_file(tensors, file, {"sslcli": to_json(described)})
    for file in run.glob("state/*/state.json"):
        state = json.loads(file.read_text())
        state["sha256"]["model.safetensors"] = sha256(file.with_name("model.safetensors"))
        file.write_text(json.dumps(state))


def test_other_images_of_the_same_names_and_sizes_are_refused(ssl, home):
    write(home / "set", 1)
    for words in ((), ("--preset", "simsiam/digits", *SMALL)):
        outcome = ssl(
            "pretrain", *words, "--resume", "--out", home / "run", *LONGER, "--data", home / "set"
        )
        assert outcome.code == 2
        assert "other data" in outcome.err
        assert str(home / "set") in outcome.err


def test_a_copy_in_another_folder_is_the_same_data(ssl, home, first):
    shutil.move(home / "set", home / "copy")
    words = ("--resume", "--out", home / "run", *LONGER)
    outcome = ssl("pretrain", *words, "--data", home / "copy")
    assert outcome.code == 0
    checkpoint = load_checkpoint(home / "run")
    assert checkpoint.facts["step"] == 3
    assert checkpoint.paths == {"source": str(home / "copy")}


def test_built_in_data_is_no_copy_of_a_folder(ssl, home):
    outcome = ssl("pretrain", "--resume", "--out", home / "run", *LONGER, "--data", "digits")
    assert outcome.code == 2
    assert "other data" in outcome.err


def test_a_moved_run_finds_its_data_from_any_folder(ssl, home, first):
    outcome = ssl("pretrain", "--resume", "--out", home / "run", *LONGER)
    assert outcome.code == 0
    assert ssl("knn-eval", home / "run").code == 0
    assert str(first / "set") in ssl("embed", home / "run", "--out", home / "x.npz").err


def test_a_folder_of_the_same_name_elsewhere_is_not_taken_for_the_data(ssl, home, first):
    write(home.parent / "set", 5)
    outcome = ssl("knn-eval", home / "run", "--json")
    assert outcome.json["data"]["train"].startswith(str(first / "set"))


def test_both_paths_are_said_when_the_data_is_in_neither(ssl, home, first):
    def move(described):
        described["facts"]["data"]["paths"]["source"] = "/gone/set"

    describe(home / "run", move)
    for command in (
        ("knn-eval",),
        ("embed", "--out", home / "x.npz"),
        ("pretrain", "--resume", "--out"),
    ):
        outcome = ssl(*command, home / "run")
        assert outcome.code == 3
        assert "/gone/set" in outcome.err
        assert str(home.parent / "set") in outcome.err


def test_a_run_of_an_older_version_goes_on_with_a_warning(ssl, home):
    def age(described):
        described["facts"]["data"] = {"name": "set", "fingerprint": "ab" * 16, "images": 16}

    describe(home / "run", age)
    words = ("pretrain", "--resume", "--out", home / "run", *LONGER)
    assert "data.source" in ssl(*words, "--data", home / "set").err
    shutil.copytree(home / "set", home.parent / "set")
    outcome = ssl(*words)
    assert outcome.code == 0
    assert "must be the same data" in outcome.err


@pytest.mark.parametrize("longer", ["4 epochs", "44 steps"])
def test_a_finished_run_is_lengthened(ssl, trained, tmp_path, longer):
    shutil.copytree(trained, tmp_path / "run")
    words = (
        "pretrain",
        "--resume",
        "--out",
        tmp_path / "run",
        "--set",
        f'train.duration="{longer}"',
    )
    outcome = ssl(*words)
    assert outcome.code == 0
    assert "lengthened from 22 to 44 steps, of which 22 are done" in outcome.err
    assert "cosine schedule is stretched to fit: the rate jumps from 0 to 0." in outcome.err
    assert load_checkpoint(tmp_path / "run").facts["step"] == 44
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["train"]["duration"] == longer


def test_a_run_is_no_shorter_than_what_is_done(ssl, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    words = ("pretrain", "--resume", "--out", tmp_path / "run")
    refused = ssl(*words, "--set", 'train.duration="1 epochs"')
    assert refused.code == 2
    assert "1 epochs are 11 steps, and this run has done 22" in refused.err
    same = ssl(*words, "--set", 'train.duration="22 steps"')
    assert "complete" in same.err
    other = ssl(*words, "--set", 'train.duration="4 epochs"', "--set", "train.accumulate=2")
    assert other.code == 2
    assert "train.accumulate" in other.err
    assert "train.duration" not in other.err


def test_fields_newer_than_the_run_keep_their_old_meaning(ssl, home, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "simsiam/digits"\nencoder.zero_init_residual = true\n')

    def age(described):
        for field in ("zero_init_residual", "stem_padding"):
            del described["config"]["encoder"][field]

    describe(home / "run", age)
    words = ("pretrain", "--preset", mine, *SMALL, *LONGER, "--resume", "--out", home / "run")
    words = [w for w in words if w != "--quiet"] + ["--data", home / "set"]
    asked = ssl(*words, "--set", "encoder.stem_padding=2")
    assert asked.code == 2
    assert "encoder.stem_padding" in asked.err
    assert "zero_init" not in asked.err.split("keeps its config")[1]
    for duration in ("3 steps", "4 steps"):
        done = ssl(*words, "--set", f'train.duration="{duration}"')
        assert done.code == 0, (duration, load_checkpoint(home / "run").facts)
        assert "keeps to that: encoder.zero_init_residual" in done.err
    assert load_checkpoint(home / "run").config.encoder.zero_init_residual is False


def test_an_unreadable_image_costs_online_knn_and_not_the_run(ssl, tmp_path):
    root = write(tmp_path / "set", 0)
    (root / "a" / "0.bmp").write_bytes(b"no image")
    online = ("--set", 'evaluation.online_every="1 steps"', "--set", "data.max_bad_fraction=0.07")
    words = (*PRETRAIN, *online, "--data", root, "--out", tmp_path / "run")
    assert ssl(*words).code == 0
    again = ssl("pretrain", "--resume", "--out", tmp_path / "run", *LONGER)
    assert again.code == 0
