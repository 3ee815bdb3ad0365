"""`ssl map` draws a data set's embeddings and keeps their coordinates."""

import sys

import numpy as np
import pytest
from PIL import Image


def mapped(ssl, run, tmp_path, *words):
    outcome = ssl("map", run, "--out", tmp_path / "map.png", "--by", "pca", *words, "--json")
    assert outcome.code == 0, outcome.err
    with Image.open(outcome.json["path"]) as image:
        assert image.format == "PNG"
    with np.load(tmp_path / "map.npz", allow_pickle=False) as kept:
        return outcome.json, dict(kept)


def test_every_row_has_a_point_with_its_class_and_file(ssl, trained, tmp_path):
    told, kept = mapped(ssl, trained, tmp_path)
    assert told["coordinates"] == str(tmp_path / "map.npz")
    assert kept["coordinates"].shape == (1797, 2)
    assert kept["rows"].tolist() == list(range(1797))
    assert set(kept) == {"coordinates", "rows", "labels", "class_names", "files"}
    assert kept["files"][7] == "digits[7]"
    assert told["metrics"]["nmi"] is None
    assert 0.7 < told["metrics"]["trustworthiness"] <= 1


def test_of_many_rows_some_are_taken_evenly(ssl, trained, tmp_path):
    told, kept = mapped(ssl, trained, tmp_path, "--count", 100, "--clusters", 10)
    assert kept["rows"].tolist() == [row * 1797 // 100 for row in range(100)]
    assert kept["clusters"].max() == 9
    assert 0.3 < told["metrics"]["nmi"] <= 1
    assert told["metrics"]["n"] == 100


def test_images_without_classes_are_mapped(ssl, trained, tmp_path):
    for row in range(12):
        Image.new("RGB", (8, 8), (20 * row, 90, 255 - 20 * row)).save(tmp_path / f"{row}.png")
    told, kept = mapped(ssl, trained, tmp_path, "--data", tmp_path, "--clusters", 2)
    assert set(kept) == {"coordinates", "rows", "clusters", "files"}
    assert told["metrics"]["nmi"] is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "map.jpg"), "end it in .png"),
        (("--clusters", 1000, "--count", 50), "choose 1 to 50"),
        (("--by", "umap"), "pip install 'sslcli[umap]', or use --by tsne"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_drawn(
    ssl, trained, words, told, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "umap", None)
    out = () if "--out" in words else ("--out", tmp_path / "map.png")
    outcome = ssl("map", trained, *words, *out)
    assert (outcome.code, told in outcome.err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_dry_run_counts_and_draws_nothing(ssl, trained, tmp_path):
    words = ("--count", 30, "--dry-run", "--out", tmp_path / "map.png", "--json")
    assert ssl("map", trained, *words).json["rows"] == 30
    assert not list(tmp_path.iterdir())
