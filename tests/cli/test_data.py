"""What every command says of the data that it opens."""

import os

import pytest
from PIL import Image
from safetensors import safe_open


@pytest.fixture(scope="module")
def stray(tmp_path_factory):
    """Return a folder of two parts of two classes, with an image beside them."""
    root = tmp_path_factory.mktemp("stray")
    names = [f"{part}/{c}/{i}.png" for part in ("train", "test") for c in "01" for i in range(8)]
    for seed, name in enumerate([*names, "sample.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (7 * seed, 40, 200 - 5 * seed)).save(root / name)
    (root / "test" / "1" / "linked.png").symlink_to("../../train/1/0.png")
    return root


COMMANDS = {
    "pretrain": ("--method", "simsiam", "--set", "train.batch_size=4", "--dry-run"),
    "bench": ("--method", "simsiam", "--set", "train.batch_size=4", "--steps", "3"),
    "knn-eval": ("RUN", "--dry-run"),
    "linear-eval": ("RUN", "--dry-run"),
    "ood-detect": ("RUN", "--dry-run"),
    "embed": ("RUN", "--dry-run", "--out", "never.npz"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_what_lies_out_of_line(ssl, trained, stray, command):
    words = [trained if word == "RUN" else word for word in COMMANDS[command]]
    outcome = ssl(command, *words, "--data", stray)
    assert outcome.code == 0
    assert "1 images lie outside of the parts" in outcome.err
    assert str(stray / "sample.png") in outcome.err
    is_evaluation = command not in ("pretrain", "bench", "embed")
    assert ("1 held-out images are files that are trained on too" in outcome.err) == is_evaluation


def test_outside_sets_and_the_check_name_it_too(ssl, trained, stray):
    for words in (("ood-detect", trained, "--dry-run", "--ood", stray), ("data", "check", stray),
                  ("doctor", "--data", stray)):  # fmt: skip
        outcome = ssl(*words)
        assert "1 images lie outside of the parts" in outcome.out + outcome.err


def test_a_stray_image_is_neither_trained_nor_tested_on(ssl, trained, stray):
    outcome = ssl("knn-eval", trained, "--data", stray, "--dry-run", "--json")
    assert outcome.json["images"] == {"train": 16, "test": 17}
    outcome = ssl("pretrain", *COMMANDS["pretrain"], "--data", stray)
    assert "16 images; held out: the test part" in outcome.err


def test_a_class_whose_name_is_no_utf8_is_trained_on_and_stored_escaped(ssl, tmp_path):
    for row in range(8):
        folder = os.fsdecode(os.fsencode(tmp_path / "set") + (b"/vis\xe9", b"/tea")[row % 2])
        os.makedirs(folder, exist_ok=True)
        Image.new("RGB", (8, 8), (30 * row, 9, 50)).save(f"{folder}/{row}.png")
    short = ("--set", 'train.duration="2 steps"', "--set", "train.batch_size=4", "--quiet")
    words = ("--preset", "simsiam/digits", "--data", tmp_path / "set", "--out", tmp_path / "run")
    assert ssl("pretrain", *words, *short).code == 0
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", "pt") as file:
        assert "vis\\\\xe9" in "".join(file.metadata().values())
    assert ssl("linear-eval", tmp_path / "run", "--set", "data.holdout=0.5", "--json").code == 0
    out = tmp_path / "x.npz"
    assert ssl("embed", tmp_path / "run", "--out", out, "--json").json["arrays"]["labels"] == "8"


def test_an_argument_that_is_no_utf8_is_refused_before_any_work(ssl):
    outcome = ssl("pretrain", "--method", "simsiam", "--data", os.fsdecode(b"vis\xe9"))
    assert outcome.code == 2
    assert "no text in UTF-8" in outcome.err


@pytest.mark.parametrize(
    ("command", "options", "parts"),
    [
        ("knn-eval", ("--k", "3"), ("train", "test")),
        ("linear-eval", (), ("train", "test")),
        (
            "ood-detect",
            ("--score", "knn", "--ood", "HOLED", "--set", "evaluation.k=3"),
            ("train", "test"),
        ),
        ("embed", ("--out", "x.npz", "--overwrite"), ("",)),
    ],
)
def test_evaluations_count_and_name_what_they_could_not_read(
    ssl, trained, holed, tmp_path, monkeypatch, command, options, parts
):
    monkeypatch.chdir(tmp_path)
    words = [holed if word == "HOLED" else word for word in options]
    words += ["--data", holed, "--set", "data.max_bad_fraction=0.06", "--json"]
    outcome = ssl(command, trained, *words)
    assert outcome.code == 0
    for part in parts:
        name = f"{holed} ({part})" if part else str(holed)
        told = outcome.json["unreadable"][name]
        assert (told["count"], told["of"]) == ((1, 20) if part else (2, 40))
        assert all(str(holed / part) in file for file in told["files"])
        assert f"of {told['of']} images of {name} are unreadable and left out" in outcome.err


def test_the_limit_of_unreadable_images_is_of_the_whole_set(ssl, trained, holed):
    words = ("knn-eval", trained, "--data", holed, "--k", "3", "--quiet")
    assert ssl(*words, "--set", "data.max_bad_fraction=0.025").code == 0
    refused = ssl(*words, "--set", "data.max_bad_fraction=0.024")
    assert refused.code == 3
    assert "1 of 20 images are unreadable" in refused.err
    assert f"ssl data check {holed};" in refused.err


def test_no_image_at_all_is_said_as_that(ssl, trained, photos):
    outcome = ssl("knn-eval", trained, "--data", photos, "--set", "data.holdout=0", "--k", "3")
    assert outcome.code == 3
    assert "there are no images in it" in outcome.err
    assert "data.holdout" in outcome.err
