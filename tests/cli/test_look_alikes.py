"""`ssl data check --with CKPT` finds what was planted, and little else."""

import numpy as np
import pytest
from PIL import Image

from sslcli.data.sources.open import open_source

DIGITS = open_source("digits", part=None)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return digits in two parts with three copies across them, one misnamed, and an odd image."""
    root = tmp_path_factory.mktemp("planted")
    for row in range(200):
        name = DIGITS.class_names[DIGITS.labels[row]]
        save(root / ("train", "test")[row % 4 == 0] / name / f"{row}.png", DIGITS.load(row))
    classes = [DIGITS.class_names[DIGITS.labels[row]] for row in range(200)]
    save(root / "test" / classes[1] / "copy.bmp", DIGITS.load(1))
    save(root / "test" / classes[2] / "lighter.png", np.maximum(DIGITS.load(2), 2))
    save(root / "test" / ("1" if classes[3] != "1" else "2") / "wrong.bmp", DIGITS.load(3))
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)
    save(root / "train" / "0" / "board.png", board[:, :, None].repeat(3, axis=2))
    return root


def named(pair):
    return {path.rpartition("/")[2] for path in (pair["first"], pair["second"])}


def test_what_was_planted_is_found(ssl, trained, planted, tmp_path):
    words = ("data", "check", planted, "--with", trained, "--out", tmp_path / "found.png")
    outcome = ssl(*words, "--json")
    assert outcome.code == 0
    told = outcome.json["look_alikes"]
    assert told["n"] == 204
    by_name = {tuple(sorted(named(pair))): pair for pair in told["pairs"]}
    copy, lighter, wrong = (
        by_name[pair]
        for pair in (("1.png", "copy.bmp"), ("2.png", "lighter.png"), ("3.png", "wrong.bmp"))
    )
    assert all(pair["leak"] for pair in (copy, lighter, wrong))
    assert (copy["exact"], lighter["exact"], wrong["exact"]) == (True, False, True)
    assert (copy["conflict"], lighter["conflict"], wrong["conflict"]) == (False, False, True)
    assert len(by_name) <= 5
    assert told["outliers"][0]["item"].endswith("board.png")
    assert told["counts"]["train/test leaks"] >= 3
    assert "have different classes - " in outcome.err
    with Image.open(tmp_path / "found.png") as image:
        assert image.format == "PNG"


def test_leaks_into_other_test_data_are_found(ssl, trained, tmp_path):
    for row in range(40):
        save(tmp_path / "own" / f"{row}.png", DIGITS.load(row))
    for row in range(30, 60):
        save(tmp_path / "test" / f"{row}.bmp", DIGITS.load(row))
    words = ("data", "check", tmp_path / "own", "--with", trained, "--test", tmp_path / "test")
    told = ssl(*words, "--similarity", 0.99999, "--json").json["look_alikes"]
    leaks = {tuple(sorted(named(pair))) for pair in told["pairs"] if pair["leak"]}
    assert leaks == {(f"{row}.bmp", f"{row}.png") for row in range(30, 40)}
    assert told["pair_rule"] == "a cosine of at least 0.99999"


def test_the_tables_name_the_first(ssl, trained, planted):
    outcome = ssl("data", "check", planted, "--with", trained)
    assert "exact duplicates\t2\n" in outcome.out
    assert "similarity\tkind\tfirst\tsecond\n" in outcome.out
    assert "distance\toutlier\n" in outcome.out
    assert "expected by chance" in outcome.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--test", "digits"), "name one by --with CKPT"),
        (("--with", "{run}", "--out", "found.jpg"), "found.jpg is no PNG"),
        (("--with", "no-such-run"), "there is no checkpoint here"),
    ],
)
def test_what_does_not_fit_is_refused(ssl, trained, words, told):
    words = [word.format(run=trained) for word in words]
    outcome = ssl("data", "check", "digits", *words)
    assert (outcome.code, told in outcome.err) == (2, True)
