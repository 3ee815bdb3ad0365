"""Several captions an image: a table of them beside images, or rows of a table of images."""

import io
import re
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from sslcli.config.views import TextViewConfig
from sslcli.data.sources.base import Subset
from sslcli.data.sources.captioned import with_texts
from sslcli.data.sources.check import check
from sslcli.data.sources.open import open_source
from sslcli.data.text.feed import TextViews, Tokenised
from sslcli.data.text.tokenizer import ByteTokenizer
from sslcli.errors import DataError

CPU = torch.device("cpu")
ROWS = [("a.png", "a dog"), ("a.png", "a wet dog"), ("b.png", "a cat"), ("sub/c.png", "a car")]
FILES = ("a.png", "b.png", "sub/c.png")
EXPECTED = {"a.png": ("a dog", "a wet dog"), "b.png": ("a cat",), "c.png": ("a car",)}


def table(rows=ROWS, separator="\t"):
    return "".join(separator.join(row) + "\n" for row in [("filepath", "title"), *rows])


def picture(number):
    data = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), number, dtype=np.uint8)).save(data, "png")
    return data.getvalue()


def as_folder(root, text, name="captions.tsv"):
    for number, file in enumerate(FILES):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(picture(number))
    (root / name).write_text(text)
    return root


def as_tar(root, text, name="captions.tsv", below="dev/"):
    members = {f"{below}{file}": picture(number) for number, file in enumerate(FILES)}
    members[f"{below}{name}"] = text.encode()
    with tarfile.open(root / "all.tar", "w") as tar:
        for path, data in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return root / "all.tar"


def captions_of(source):
    names = [re.split(r"[/ ]", source.describe(row))[-1] for row in range(len(source))]
    return {name: source.sentences(row) for row, name in enumerate(names)}


@pytest.mark.parametrize("make", [as_folder, as_tar])
@pytest.mark.parametrize(("name", "separator"), [("captions.tsv", "\t"), ("captions.csv", ",")])
def test_a_table_beside_the_images_holds_several_of_each(make, name, separator, tmp_path):
    source = open_source(str(make(tmp_path, table(separator=separator), name)), part=None)
    assert source.columns == {"image", "text"}
    assert captions_of(source) == EXPECTED
    assert [source.text(row) for row in range(3)] == ["a dog", "a cat", "a car"]
    assert not [each for each in source.remarks() if "caption" in each.what]


def test_a_table_may_lie_at_the_root_of_an_archive(tmp_path):
    source = open_source(str(as_tar(tmp_path, table(), below="")), part=None)
    assert captions_of(source) == EXPECTED


@pytest.mark.parametrize("make", [as_folder, as_tar])
def test_what_does_not_match_is_counted_and_named(make, tmp_path):
    rows = [*ROWS[:3], ("gone.png", "nothing"), ("far/gone.png", "nothing")]
    source = open_source(str(make(tmp_path, table(rows))), part=None)
    assert (source.columns, source.has_text.tolist()) == ({"image"}, [True, True, False])
    told = [f"{remark.what} {remark.where} {remark.hint}" for remark in source.remarks()]
    assert any("1 of 3 images have no caption" in each and "c.png" in each for each in told)
    assert any("2 images with captions are not there" in each for each in told)
    assert any("gone.png" in each for each in told)
    assert any("captions are not there" in each.what for each in source.oddities)


def as_texts(root, text):
    """Write the images with a .txt beside two of them, and one that belongs to none."""
    folder = as_folder(root, text, "unused.md")
    for name, words in (("a", "a dog"), ("b", "a cat"), ("gone", "nothing")):
        (folder / f"{name}.txt").write_text(words)
    return folder


def as_table(root, text):
    as_folder(root, "", "unused.md")
    (root / "all.tsv").write_text(text)
    return root / "all.tsv"


PARTLY = [*ROWS[:3], ("sub/c.png", "")]


@pytest.mark.parametrize("make", [as_folder, as_tar, as_texts, as_table])
def test_images_without_a_caption_are_left_out_where_texts_are_read(make, tmp_path):
    whole = open_source(str(make(tmp_path, table(PARTLY))), part=None)
    assert whole.columns == {"image"}
    source, (remark,) = with_texts(whole)
    assert (len(source), source.columns) == (2, {"image", "text"})
    assert remark.what == "1 of 3 images have no caption and are left out"
    assert "c.png" in remark.where
    assert source.text(0) == "a dog"
    part = Subset(source, np.array([1]), "part")
    assert (part.text(0), part.columns) == ("a cat", {"image", "text"})
    with pytest.raises(DataError, match="not sentences"):
        whole.text(2)


def test_data_check_counts_captions(tmp_path):
    rows = [*ROWS[:3], ("sub/c.png", "a cat"), ("b.png", "a cat that sits")]
    report = check(str(as_folder(tmp_path, table(rows))))
    assert report.captions == {"count": 5, "equal": 2, "longest": 4}
    assert any("2 of 5 captions are those of another image too" in f.what for f in report.findings)


def test_an_image_is_in_one_part_however_its_path_is_spelled(tmp_path):
    as_folder(tmp_path, "", "unused.md")
    rows = [("a.png", "one", "train"), ("./a.png", "two", "test"), ("b.png", "three", "test")]
    head = "filepath\ttitle\tsplit\n"
    (tmp_path / "all.tsv").write_text(head + "".join("\t".join(row) + "\n" for row in rows))
    source = open_source(str(tmp_path / "all.tsv"), part=None)
    assert [source.sentences(row) for row in range(len(source))] == [("one", "two"), ("three",)]
    assert source.parts.tolist() == [1, 2]
    (remark,) = source.oddities
    assert "1 images have rows of different parts" in remark.what


def test_captions_are_part_of_what_the_data_is(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = open_source(str(as_folder(tmp_path / "one", table())), part=None)
    again = open_source(str(as_folder(tmp_path / "two", table())), part=None)
    assert again.fingerprint == first.fingerprint
    (tmp_path / "two" / "captions.tsv").write_text(table([*ROWS, ("b.png", "more")]))
    other = open_source(str(tmp_path / "two"), part=None)
    assert captions_of(other)["b.png"] == ("a cat", "more")
    assert other.fingerprint != first.fingerprint
    assert other.stamp() != first.stamp()


@pytest.mark.parametrize(
    ("text", "told"),
    [("filepath\tlabel\na.png\tdog\n", "columns are filepath, label"), ("", "columns are none")],
)
def test_a_table_without_titles_is_refused(text, told, tmp_path):
    with pytest.raises(DataError, match=told):
        open_source(str(as_folder(tmp_path, text)), part=None)


def test_a_damaged_row_is_named_by_its_line(tmp_path):
    with pytest.raises(DataError, match="has 1 cells") as fault:
        open_source(str(as_folder(tmp_path, table() + "broken\n")), part=None)
    assert fault.value.where.endswith("captions.tsv:6")


def test_rows_of_one_image_are_one_image(tmp_path):
    as_folder(tmp_path, "", "unused.tsv")
    (tmp_path / "all.csv").write_text(table(separator=","))
    source = open_source(str(tmp_path / "all.csv"), part=None)
    assert captions_of(source) == EXPECTED
    assert source.text(0) == "a dog"
    (tmp_path / "other.csv").write_text(table([*ROWS, ("b.png", "more")], separator=","))
    other = open_source(str(tmp_path / "other.csv"), part=None)
    assert other.fingerprint != source.fingerprint


def test_one_caption_of_an_image_is_drawn_each_epoch(tmp_path):
    source = open_source(str(as_folder(tmp_path, table())), part=None)
    feed = Tokenised(source, TextViews(ByteTokenizer(), [TextViewConfig(max_length=20)]), CPU)
    rows = torch.tensor([2, 0, 1])

    def drawn(epoch, rows=rows):
        (tokens,) = feed.texts(rows, epoch)
        pairs = zip(tokens.ids, tokens.mask, strict=True)
        return ["".join(chr(number - 1) for number in ids[mask]) for ids, mask in pairs]

    epochs = [drawn(epoch) for epoch in range(40)]
    assert {each[0] for each in epochs} == {"a car"}
    assert {each[2] for each in epochs} == {"a cat"}
    dogs = [each[1] for each in epochs]
    assert 10 < dogs.count("a wet dog") < 30
    assert set(dogs) == {"a dog", "a wet dog"}
    assert [drawn(epoch, torch.tensor([0]))[0] for epoch in range(40)] == dogs
