"""Images, captions and sentences: what each data set has, and what it says when it has not."""

import numpy as np
import pytest

from sslcli.data.sources.base import Subset, need, take_part
from sslcli.data.sources.check import check
from sslcli.data.sources.open import open_source
from sslcli.data.sources.sentences import Sentences
from sslcli.errors import DataError

CAPTIONED = {"a.png": 0, "b.png": 1, "a.txt": b" a dog\n", "b.txt": "eine K\xf6nigin".encode()}
TEXTS = ["a dog", "eine K\xf6nigin"]


def whole(path):
    return open_source(str(path), part=None)


@pytest.fixture(params=["folder", "archive", "table"])
def captioned(request, tmp_path, write_files, write_tar):
    """Two images with a caption each, in one of three forms."""
    if request.param == "archive":
        return whole(write_tar(tmp_path / "x.tar", CAPTIONED))
    write_files(tmp_path, CAPTIONED if request.param == "folder" else {"a.png": 0, "b.png": 1})
    if request.param == "folder":
        return whole(tmp_path)
    (tmp_path / "t.csv").write_text(f"filepath,title\na.png,{TEXTS[0]}\nb.png,{TEXTS[1]}\n")
    return whole(tmp_path / "t.csv")


def test_captions_belong_to_their_images(captioned):
    assert captioned.columns == {"image", "text"}
    need(captioned, "image", "text")
    assert [captioned.text(row) for row in range(2)] == TEXTS
    assert captioned.load(1).shape == (8, 8, 3)
    assert not captioned.remarks()


def test_a_part_of_the_data_keeps_its_captions(captioned):
    part = Subset(Subset(captioned, np.array([1, 0]), "turned"), np.array([0]), "second")
    assert part.columns == {"image", "text"}
    assert part.text(0) == TEXTS[1]


def test_the_training_part_of_a_table_has_captions(tmp_path, write_files):
    write_files(tmp_path, {"a.png": 0, "b.png": 1})
    rows = "filepath,title,split\na.png,dog,test\nb.png,cat,train\n"
    (tmp_path / "t.csv").write_text(rows)
    assert take_part(whole(tmp_path / "t.csv"), "train").text(0) == "cat"


@pytest.mark.parametrize("column", ["text", "pair"])
def test_images_alone_are_no_text(tmp_path, write_files, write_tar, column):
    files = {"a.png": 0, "b.png": 1, "b.txt": b"not of all"}
    for source in (
        whole(write_files(tmp_path / "f", files)),
        whole(write_tar(tmp_path / "x.tar", files)),
        whole("digits"),
    ):
        with pytest.raises(DataError, match="holds images, not"):
            need(source, column)
        with pytest.raises(DataError, match="not sentences"):
            source.text(0)


def test_sentences_alone_are_no_pairs():
    with pytest.raises(DataError) as caught:
        need(Sentences("s", ["one"]), "pair")
    assert "built-in phrases" in caught.value.hint


def test_sentences_are_no_images():
    source = Sentences("s", ["one", "two"])
    assert (source.columns, source.text(1)) == ({"text"}, "two")
    with pytest.raises(DataError, match="holds sentences, not images"):
        need(source, "text", "image")
    with pytest.raises(DataError, match="holds sentences, not images"):
        source.load(0)


def test_data_check_counts_images_without_a_caption(tmp_path, write_files, write_tar):
    files = {"a.png": 0, "b.png": 1, "b.txt": b"dog", "note.txt": b"", "x.md": b""}
    for spec in (write_files(tmp_path / "f", files), write_tar(tmp_path / "x.tar", files)):
        found = [finding.what for finding in check(str(spec)).findings]
        assert any(text.startswith("1 of 2 images have no caption") for text in found)
        assert "1 captions have no image" in found
        assert any(text.startswith(("1 files are no", "1 members are no")) for text in found)


def test_a_caption_that_is_no_text_is_named(tmp_path, write_files, write_tar):
    files = {"a.png": 0, "a.txt": b"\xff\xfe"}
    for spec in (write_files(tmp_path / "f", files), write_tar(tmp_path / "x.tar", files)):
        with pytest.raises(DataError, match="no text in UTF-8") as caught:
            whole(spec).text(0)
        assert str(spec) in caught.value.where


def test_a_changed_caption_changes_the_stamp_and_not_the_images_fingerprint(tmp_path, write_files):
    source = whole(write_files(tmp_path, CAPTIONED))
    stamp, fingerprint = source.stamp(), source.fingerprint
    (tmp_path / "a.txt").write_text("a cat")
    assert source.stamp() != stamp
    assert whole(tmp_path).fingerprint == fingerprint
