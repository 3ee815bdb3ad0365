"""`ssl neighbours` finds and draws the nearest images, of the test part or of one's own."""

import numpy as np
import pytest
from PIL import Image

from sslcli.workflows.neighbours import neighbours
from sslcli.workflows.run import load


def exact(run, queries, searched, k):
    """Return rows and cosines of the k nearest, by a product in float64."""
    asked, bank = (run.features(source).features.double().numpy() for source in (queries, searched))
    asked, bank = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (asked, bank))
    near = np.argsort(-asked @ bank.T, axis=1)[:, :k]
    return near, np.take_along_axis(asked @ bank.T, near, axis=1)


def test_rows_of_the_test_part_are_asked_about_among_the_training_part(ssl, trained, tmp_path):
    words = ("neighbours", trained, "--out", tmp_path / "grid.png", "--json", "--baseline")
    outcome = ssl(*words, "--count", 3, "--k", 4)
    assert outcome.code == 0
    told, run = outcome.json, load(trained)
    assert list(told["neighbours"]) == ["encoder", "untrained", "pixels"]
    assert told["metrics"].keys() == {"same_class", "same_class_untrained", "same_class_pixels"}
    test, train = run.splits.test, run.splits.train
    asked = [query["item"] for query in told["neighbours"]["encoder"]]
    rows = [row for row in range(len(test)) if test.describe(row) in asked]
    near, cosines = exact(run, test, train, 4)
    for query, row in zip(told["neighbours"]["encoder"], rows, strict=True):
        found = query["neighbours"]
        assert [each["row"] for each in found] == near[row].tolist()
        assert [each["similarity"] for each in found] == pytest.approx(cosines[row], abs=1e-6)
        assert found[0]["item"] == train.describe(int(near[row][0]))
    with Image.open(told["path"]) as image:
        assert image.format == "PNG"


def test_the_seed_draws_the_queries(ssl, trained, tmp_path):
    out = ("--out", tmp_path / "grid.png")
    words = ("neighbours", trained, "--count", 4, "--k", 1, "--quiet", *out)
    first, again, other = (ssl(*words, "--seed", seed).out for seed in (0, 0, 1))
    assert first == again != other
    assert len(first.splitlines()) == 1 + 4 + 2  # heads, a line a query, the share


@pytest.fixture
def photos(tmp_path):
    """Return a folder of 24 images in two classes, of which no two are alike to any encoder."""
    draw = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(12):
            pixels = draw.integers(0, 256, (10, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


def test_a_query_that_is_searched_too_is_no_neighbour_of_itself(ssl, trained, photos, tmp_path):
    file, copied = photos / "cats" / "3.png", tmp_path / "copied.png"
    copied.write_bytes(file.read_bytes())
    words = ("neighbours", trained, "--data", photos)
    words += ("--query", file, "--query", copied, "--query", photos / "dogs")
    told = ssl(*words, "--k", 2, "--count", 5, "--out", tmp_path / "n.png", "--json").json
    queries = told["neighbours"]["encoder"]
    assert [query["item"] for query in queries[:2]] == [str(file), str(copied)]
    assert len(queries) == 7
    assert told["data"] == {"searched": str(photos), "n": 24}
    for query in queries:
        items = [each["item"] for each in query["neighbours"]]
        assert len(items) == 2
        assert query["item"] not in items
    assert queries[1]["neighbours"][0]["item"] == str(file)  # a copy of it finds it
    assert queries[1]["neighbours"][0]["similarity"] == pytest.approx(1, abs=1e-5)


def test_a_row_of_data_without_files_is_left_out_too(trained, tmp_path):
    run = load(trained)
    found = neighbours(run, query="digits", count=3, k=1, out=tmp_path / "a.png")
    for query in found.queries:
        assert query.item != query.neighbours[0].item


@pytest.mark.parametrize("row", [7, 9])  # of one size: what is kept of one is not the other's
def test_python_takes_images_at_hand(trained, tmp_path, row):
    run = load(trained, precision="fp32")
    image = run.splits.train.load(row)
    found = neighbours(run, query=[image, Image.fromarray(image)], k=1, out=tmp_path / "a.png")
    for query in found.queries:
        (near,) = query.neighbours
        assert (near.item, query.label) == (run.splits.train.describe(row), None)
    assert found.metrics() == {"same_class": None}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--query", "nope.jpg"), 3, "nope.jpg"),
        (("--query", "nope/"), 3, "there is no such data set"),
        (("--out", "grid.jpg"), 2, "end it in .png"),
        (("--k", 5000), 2, "choose k from 1 to 1442"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_drawn(ssl, trained, words, code, told, tmp_path):
    out = () if "--out" in words else ("--out", tmp_path / "grid.png")
    outcome = ssl("neighbours", trained, *words, *out)
    assert (outcome.code, told in outcome.err) == (code, True)
    assert not list(tmp_path.iterdir())


def test_dry_run_counts_and_draws_nothing(ssl, trained, tmp_path):
    words = ("neighbours", trained, "--out", tmp_path / "grid.png", "--dry-run", "--json")
    assert ssl(*words).json["rows"] == {"asked": 16, "searched": 1442}
    assert not list(tmp_path.iterdir())
