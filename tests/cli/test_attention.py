"""`ssl attention` draws a transformer's maps, and says what it cannot draw."""

import pytest
from PIL import Image

SHORT = ("--set", 'train.duration="2 steps"', "--set", "train.batch_size=32", "--quiet")


@pytest.fixture(scope="module")
def transformer(tmp_path_factory, run_once):
    folder = tmp_path_factory.mktemp("runs") / "vit"
    run_once("pretrain", "--preset", "dino/digits-vit", "--out", folder, *SHORT)
    return folder


def test_maps_are_drawn_beside_the_images(ssl, transformer):
    outcome = ssl("attention", transformer, "--count", 3, "--json")
    assert outcome.code == 0
    assert len(outcome.json["shown"]) == 3
    weights = outcome.json["patch_weight_by_head"]
    assert len(weights) == 4
    assert all(0.5 < weight < 1 for weight in weights)
    assert outcome.json["path"] == str(transformer / "figures" / "attention.png")
    with Image.open(outcome.json["path"]) as image:
        assert image.format == "PNG"


def test_the_seed_chooses_the_images_and_larger_ones_are_taken(ssl, transformer, tmp_path):
    words = ("attention", transformer, "--count", 3, "--out", tmp_path / "maps.png", "--json")
    chosen = [ssl(*words, "--seed", seed).json["shown"] for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert ssl(*words, "--set", "data.image_size=16").code == 0


def test_an_encoder_without_tokens_is_refused(ssl, trained):
    outcome = ssl("attention", trained)
    assert outcome.code == 2
    assert "resnet8 is no vision transformer of ours" in outcome.err


def test_a_file_that_is_no_png_is_refused(ssl, transformer):
    outcome = ssl("attention", transformer, "--out", "maps.jpg")
    assert outcome.code == 2
    assert "maps.jpg is no PNG" in outcome.err


def test_dry_run_draws_nothing(ssl, transformer, tmp_path):
    outcome = ssl("attention", transformer, "--out", tmp_path / "maps.png", "--dry-run")
    assert outcome.code == 0
    assert not list(tmp_path.iterdir())


def test_unreadable_images_are_counted(ssl, transformer, holed):
    words = ("--data", holed, "--set", "data.max_bad_fraction=0.1", "--count", 20)
    told = ssl("attention", transformer, *words, "--json").json
    assert len(told["shown"]) == 19
    assert told["unreadable"][f"20 of {holed} (test)"]["count"] == 1
