"""What tells files apart: the stamp that keys caches, and the fingerprint that copies share."""

import os
import shutil

import numpy as np
import pytest

from sslcli.data.sources import files
from sslcli.data.sources.files import OF_CONTENT, same_data
from sslcli.data.sources.open import open_source
from sslcli.data.sources.splits import open_splits

FORMS = ["folder", "table", "archive"]


def whole(spec):
    return open_source(str(spec), part=None)


@pytest.fixture
def make(write_files, write_tar, encode):
    """Return a function that writes a data set of four images, all of them of one size in bytes."""

    def made(root, form, seed=0):
        members = {f"{'ab'[i % 2]}/{i}.bmp": encode(seed + i, form="BMP") for i in range(4)}
        if form == "archive":
            root.mkdir(exist_ok=True)
            return write_tar(root / "data.tar", members)
        write_files(root, members)
        if form == "folder":
            return root
        rows = "".join(f"{name},{name[0]}\n" for name in members)
        (root / "data.csv").write_text(f"filepath,label\n{rows}")
        return root / "data.csv"

    return made


def rewrite(root, make, form, seed):
    """Change every pixel, and set size and date back to what they were."""
    before = {path: path.stat() for path in root.rglob("*") if path.is_file()}
    spec = make(root, form, seed)
    for path, status in before.items():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_size == status.st_size
    return spec


@pytest.mark.parametrize("form", FORMS)
def test_changed_pixels_change_stamp_and_fingerprint(tmp_path, make, form):
    before = whole(make(tmp_path, form))
    stamp, fingerprint, pixels = before.stamp(), before.fingerprint, before.load(0)
    assert (whole(before.name).stamp(), whole(before.name).fingerprint) == (stamp, fingerprint)
    after = whole(rewrite(tmp_path, make, form, seed=9))
    assert not np.array_equal(after.load(0), pixels)
    assert after.stamp() != stamp
    assert after.fingerprint != fingerprint


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_has_the_fingerprint_and_a_stamp_of_its_own(tmp_path, make, form):
    one, other = (open_splits_of(make(tmp_path / name, form)) for name in ("one", "other"))
    assert one.train.fingerprint == other.train.fingerprint != one.test.fingerprint
    assert one.train.stamp() != other.train.stamp()
    assert one.train.stamp() != one.test.stamp()


def open_splits_of(spec):
    from sslcli.config.data import DataConfig

    stats = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    return open_splits(DataConfig(source=str(spec), image_size=8, holdout=0.5, **stats))


def test_renamed_classes_change_the_fingerprint(tmp_path, make):
    one, other = (make(tmp_path / name, "folder") for name in ("one", "other"))
    (other / "a").rename(other / "c")
    assert whole(one).fingerprint != whole(other).fingerprint


def test_of_a_large_set_a_sample_is_read_and_every_size_counts(tmp_path, make, monkeypatch, encode):
    monkeypatch.setattr(files, "_ALL_IMAGES", 3)
    monkeypatch.setattr(files, "_SAMPLED_IMAGES", 2)
    read, root = [], make(tmp_path, "folder")
    source = whole(root)
    monkeypatch.setattr(source, "read", lambda row: read.append(row) or b"")
    before = source.fingerprint
    assert len(read) == 2
    left = ({0, 1, 2, 3} - set(read)).pop()
    with open(source.describe(left), "ab") as file:
        file.write(b"more")
    assert source.fingerprint != before


@pytest.mark.parametrize("form", FORMS)
def test_reading_for_the_fingerprint_is_told_and_done_once(tmp_path, make, form, monkeypatch):
    monkeypatch.setenv("SSL_CACHE", "/dev/null/nowhere")  # it cannot be remembered on disk
    split, told = open_splits_of(make(tmp_path / "one", form)).train, []
    files.read_whole(split, lambda *pair: told.append(pair))
    assert told == [(row, len(split.base)) for row in range(1, len(split.base) + 1)]
    files.read_whole(split, lambda *pair: told.append(pair))
    assert len(told) == len(split.base)
    monkeypatch.setattr(split.base, "read", None)
    assert split.fingerprint


def test_a_missing_image_of_a_table_is_no_error_and_counts(tmp_path, make):
    source = whole(make(tmp_path, "table"))
    before = source.fingerprint
    os.remove(source.describe(1))
    assert source.fingerprint != before


def test_another_folder_of_the_same_dates_is_scanned(tmp_path, make, encode):
    root, other = make(tmp_path / "one", "folder"), make(tmp_path / "other", "folder")
    (other / "a" / "more.bmp").write_bytes(encode(7, form="BMP"))
    assert len(whole(root)) == 4
    for path in ("", "a", "b"):
        status = (root / path).stat()
        os.utime(other / path, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.move(root, tmp_path / "gone")
    shutil.move(other, root)
    assert len(whole(root)) == 5


def test_another_archive_of_the_same_size_and_date_is_indexed(tmp_path, make, write_tar, encode):
    spec = make(tmp_path, "archive")
    before = whole(spec).describe(0)
    status = spec.stat()
    members = {f"{'cd'[i % 2]}/{i}.bmp": encode(i, form="BMP") for i in range(4)}
    write_tar(spec, members)
    os.utime(spec, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert spec.stat().st_size == status.st_size
    assert whole(spec).describe(0) != before


def test_fingerprints_of_older_versions_cannot_be_compared():
    assert same_data("ab", "ab") is True
    assert same_data("ab", "cd") is False
    assert same_data("ab", f"{OF_CONTENT}ab") is None
    assert same_data(f"{OF_CONTENT}ab", f"{OF_CONTENT}cd") is False
    assert same_data(f"{OF_CONTENT}ab", "ab") is False
