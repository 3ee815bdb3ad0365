"""Numbers about images that have changed since, or that only look like others."""

import os

import numpy as np
import pytest
from PIL import Image


def write(root, rng, swapped):
    """Write two classes, of dark and of bright images; `swapped` changes every pixel."""
    for part, count in (("train", 8), ("test", 4)):
        for label in (0, 1):
            folder = root / part / "ab"[label]
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                level = 60 if (label == 0) != (swapped and part == "test") else 190
                pixels = rng.integers(level - 40, level + 40, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.bmp")
    rows = "".join(f"test/{c}/{i}.bmp,{c}\n" for c in "ab" for i in range(4))
    (root / "test.csv").write_text(f"filepath,label\n{rows}")
    return root


@pytest.fixture
def accuracy(ssl, trained):
    def measured(*words):
        found = ssl("knn-eval", trained, "--k", 3, *words, "--json")
        assert found.code == 0
        return found.json["metrics"]["top1"], "come from" in found.err

    return measured


def test_features_are_made_anew_when_all_pixels_have_changed(tmp_path, accuracy):
    root = write(tmp_path / "set", np.random.default_rng(0), swapped=False)
    dates = {path: path.stat() for path in root.glob("*/*/*.bmp")}
    data = ("--data", root)
    assert accuracy(*data) == (1.0, False)
    assert accuracy(*data) == (1.0, True)
    write(root, np.random.default_rng(1), swapped=True)
    for path, status in dates.items():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert accuracy(*data) == (0.0, False)


def test_equal_tables_in_two_folders_share_no_features(tmp_path, accuracy):
    for name, expected in (("one", 1.0), ("two", 0.0)):
        root = write(tmp_path / name, np.random.default_rng(0), swapped=name == "two")
        words = ("--data", root / "train", "--test", root / "test.csv")
        assert accuracy(*words)[0] == expected
