"""What the folders of a data set mean, for every reader alike."""

import os
import random
import tarfile

import numpy as np
import pytest

from sslcli.data.sources.base import labelled
from sslcli.data.sources.names import printable
from sslcli.data.sources.open import open_source
from sslcli.errors import DataError

CLASSES = {f"{part}/{name}/{i}.png": 0 for part in ("train", "test") for name in "ab" for i in "01"}


def whole(spec):
    return open_source(str(spec), part=None)


def meaning(source, above=""):
    """Return the class and part of each image, by its path in the archive or below a folder."""
    labels = [-1] * len(source) if source.labels is None else source.labels
    parts = [0] * len(source) if source.parts is None else source.parts
    names = [None if label < 0 else source.class_names[label] for label in labels]
    paths = [source.describe(row).rpartition(": ")[2] for row in range(len(source))]
    return {
        os.path.relpath(path, above or "."): (name, int(part))
        for path, name, part in zip(paths, names, parts, strict=True)
    }


def packed(folder, path):
    with tarfile.open(path, "w") as archive:
        archive.add(folder, ".")
    return path


@pytest.mark.parametrize(
    "stray", ["sample.png", "notes.txt", "extra/1.png", "__MACOSX/x.png", ".git/x.png", "a.tar"]
)
@pytest.mark.parametrize("archive", [False, True])
def test_nothing_beside_the_parts_switches_them_off(tmp_path, write_files, stray, archive):
    root = write_files(tmp_path / "set", {**CLASSES, stray: 7 if stray.endswith("g") else b"x"})
    source = whole(packed(root, tmp_path / "x.tar") if archive else root)
    assert [int((source.parts == code).sum()) for code in (1, 2)] == [4, 4]
    assert source.class_names == ("a", "b")
    assert not (source.labels[source.parts > 0] < 0).any()
    is_image = stray in ("sample.png", "extra/1.png")
    named = [remark.where for remark in source.oddities if "outside of the parts" in remark.what]
    assert [name.endswith(stray) for name in named] == [True] * is_image


@pytest.mark.parametrize("archive", [False, True])
def test_image_beside_class_folders_alone_has_no_label(tmp_path, write_files, archive):
    root = write_files(tmp_path / "set", {"cat/0.png": 0, "dog/1.png": 1, "sample.png": 2})
    source = whole(packed(root, tmp_path / "x.tar") if archive else root)
    assert sorted(source.labels) == [-1, 0, 1]
    assert sorted(labelled(source).labels) == [0, 1]
    (remark,) = source.oddities
    assert "1 images lie beside the class folders" in remark.what
    assert remark.where.endswith("sample.png")


def test_a_part_without_class_folders_leaves_the_other_its_labels(tmp_path, write_files):
    files = {"TRAIN/cat/0.png": 0, "TRAIN/dog/1.png": 1, "Test/2.png": 2, "Test/3.png": 3}
    root = write_files(tmp_path, files)
    train, test = (open_source(str(root), part=part) for part in ("train", "test"))
    assert train.labels.tolist() == [0, 1]
    assert test.labels is None
    assert "part without class folders" in whole(root).oddities[0].what


@pytest.mark.parametrize("archive", [False, True])
def test_the_first_folder_is_the_class_however_deep_images_lie(tmp_path, write_files, archive):
    names = [f"{kind}/{side}/{i}.png" for kind in ("cat", "bird") for side in ("left", "right")
             for i in "01"]  # fmt: skip
    root = write_files(tmp_path / "set", dict.fromkeys([*names, "dog/2.png"], 0))
    source = whole(packed(root, tmp_path / "x.tar") if archive else root)
    assert source.class_names == ("bird", "cat", "dog")
    assert np.bincount(source.labels).tolist() == [4, 4, 1]
    assert "8 images lie in folders within class folders" in source.oddities[0].what


def test_archives_mean_what_their_folder_would(tmp_path, write_tar):
    for name in ("train-0", "train-1", "test", "extra"):
        write_tar(tmp_path / f"{name}.tar", {f"photos/{c}/{name}.png": 0 for c in "ab"})
    source = whole(tmp_path / "*.tar")
    assert [int((source.parts == code).sum()) for code in (0, 1, 2)] == [2, 4, 2]
    assert source.class_names == ("a", "b")
    assert "2 images lie outside of the parts" in source.oddities[0].what


@pytest.mark.parametrize("seed", range(12))
def test_a_folder_and_the_tar_of_it_mean_the_same(tmp_path, write_files, seed):
    draw = random.Random(seed)
    tops = [
        "",
        "train",
        "test",
        "Val",
        "cat",
        "dog",
        "__MACOSX",
        ".hidden",
        "set/train",
        "set/test",
    ]
    inner = [
        "",
        "cat",
        "dog",
        "cat/left",
        "dog/left",
        b"vis\xe9".decode("utf-8", "surrogateescape"),
    ]
    files = {}
    for i in range(draw.randint(3, 14)):
        name = draw.choice([f"{i}.png", f"{i}.PNG", f"._{i}.png", "Thumbs.db", ".DS_Store"])
        files[os.path.join(draw.choice(tops), draw.choice(inner), name)] = b"x"
    files["cat/0.png"] = b"x"
    root = write_files(tmp_path / "set", files)
    (root / "empty").mkdir()
    (root / "dog").mkdir(exist_ok=True)
    (root / "dog" / "linked.png").symlink_to("../cat/0.png")
    (root / "dog" / "hard.png").hardlink_to(root / "cat" / "0.png")
    (root / "fox").symlink_to("cat")
    (root / "dog" / "up").symlink_to("..")
    assert meaning(whole(root), root) == meaning(whole(packed(root, tmp_path / "x.tar")))


def test_a_folder_of_archives_and_images_is_refused(tmp_path, write_tar, write_files):
    write_tar(tmp_path / "train.tar", {"a/0.png": 0})
    write_files(tmp_path, {"sample.png": 1})
    with pytest.raises(DataError, match="1 archives beside 1 images"):
        whole(tmp_path)


def test_a_folder_without_images_beside_archives_is_passed_over(tmp_path, write_tar, write_files):
    write_tar(tmp_path / "x.tar", {"a/0.png": 0, "b/0.png": 0})
    assert len(whole(write_files(tmp_path, {"logs/1.txt": b"", "readme.md": b""}))) == 2


def test_escaped_names_stay_different_and_are_utf8():
    names = [
        b"vis\xe9",
        b"vis\xe8",
        rb"vis\xe9",
        "vis\u00e9".encode(),
        rb"a\b",
        b"\\\xe9",
        rb"\\xe9",
    ]
    texts = [printable(os.fsdecode(name)) for name in names]
    assert len({text.encode() for text in texts}) == len(names)
    assert texts[0] == r"vis\xe9"
    assert texts[3:5] == ["vis\u00e9", r"a\b"]


@pytest.mark.parametrize("archive", [False, True])
def test_class_names_that_are_no_utf8_are_escaped(tmp_path, encode, archive):
    for name in (b"vis\xe9", b"zoo"):
        folder = os.fsencode(tmp_path / "set") + b"/" + name
        os.makedirs(folder)
        with open(folder + b"/\xff.png", "wb") as file:
            file.write(encode(0))
    source = whole(packed(tmp_path / "set", tmp_path / "x.tar") if archive else tmp_path / "set")
    assert source.class_names == (r"vis\xe9", "zoo")
    assert source.load(0).shape == (8, 8, 3)
    assert source.describe(0).encode().endswith(rb"vis\xe9/\xff.png")
