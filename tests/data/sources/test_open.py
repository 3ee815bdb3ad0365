import gzip
import os
import pickle

import numpy as np
import pytest

from sslcli.config.data import DataConfig
from sslcli.data.sources import builtin
from sslcli.data.sources.check import check
from sslcli.data.sources.open import open_source
from sslcli.data.sources.sentences import Sentences
from sslcli.data.sources.splits import open_splits, shared_files
from sslcli.errors import DataError, ExitCode

LINKED = [("train/cat", "0"), ("train/dog", "1"), ("test/dog", "2")]


def whole(spec, **how):
    return open_source(str(spec), part=None, **how)


def fault(spec, part=None, **how):
    with pytest.raises(DataError) as caught:
        open_source(str(spec), part=part, **how)
    assert caught.value.exit_code == ExitCode.DATA
    return caught.value


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    source, digits = whole("digits"), load_digits()
    assert np.array_equal(source.labels, digits.target)
    assert source.load(0).shape == (8, 8, 3)
    expected = np.floor(digits.images * 255 / 16 + 0.5)
    assert np.array_equal([source.load(row)[..., 1] for row in range(len(source))], expected)


def test_digits_split_is_stratified():
    train, test = (open_source("digits", part=part) for part in ("train", "test"))
    assert (len(train), len(test)) == (1442, 355)
    assert np.bincount(test.labels).min() >= 34


def test_folder_of_class_folders_is_labelled(tmp_path, write_files):
    source = whole(write_files(tmp_path, {"cat/2.png": 2, "ape/1.png": 1, "cat/0.jpg": 3}))
    assert source.class_names == ("ape", "cat")
    assert source.labels.tolist() == [0, 1, 1]
    assert [os.path.basename(source.describe(row)) for row in range(3)] == [
        "1.png",
        "0.jpg",
        "2.png",
    ]


@pytest.mark.parametrize(
    "names", [["a.png", "b.png"], ["a.png", "x/b.png"], ["x/y/a.png", "x/b.png"]]
)
def test_folder_of_images_nested_or_not_is_unlabelled(tmp_path, write_files, names):
    source = whole(write_files(tmp_path, dict.fromkeys(names, 0)))
    assert source.labels is None
    assert len(source) == 2


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_train_and_test_folders_are_parts(tmp_path, write_files, held_out):
    files = {"train/a/0.png": 0, "train/b/1.png": 1, f"{held_out}/b/2.png": 2}
    write_files(tmp_path, files)
    train, test = (open_source(str(tmp_path), part=part) for part in ("train", "test"))
    assert (len(train), len(test), len(whole(tmp_path))) == (2, 1, 3)
    assert test.class_names == ("a", "b")
    assert test.labels.tolist() == [1]


def test_class_named_train_beside_others_is_a_class(tmp_path, write_files):
    source = whole(write_files(tmp_path, {"train/0.png": 0, "car/1.png": 1}))
    assert source.class_names == ("car", "train")
    assert source.parts is None


def test_one_class_stays_one_class(tmp_path, write_files):
    assert whole(write_files(tmp_path, {"cat/0.png": 0})).class_names == ("cat",)


def test_folder_is_scanned_again_when_it_changes(tmp_path, write_files, encode):
    write_files(tmp_path, {"0.png": 0, "b/1.png": 1})
    before = whole(tmp_path)
    (tmp_path / "b" / "2.png").write_bytes(encode(2))
    assert len(whole(tmp_path)) == len(before) + 1


def test_edit_in_place_changes_the_fingerprint(tmp_path, write_files, encode):
    before = whole(write_files(tmp_path, {"0.png": 0})).fingerprint
    assert whole(tmp_path).fingerprint == before
    (tmp_path / "0.png").write_bytes(encode(1, size=(9, 9)))
    assert whole(tmp_path).fingerprint != before


def test_copied_folder_has_the_same_fingerprint(tmp_path, write_files):
    files = {"a/0.png": 0, "b/1.png": 1}
    one, other = (whole(write_files(tmp_path / name, files)) for name in ("one", "other"))
    assert one.fingerprint == other.fingerprint


def test_damaged_index_is_built_again(tmp_path, write_files, cache):
    root = write_files(tmp_path, {"0.png": 0})
    before = whole(root)
    (entry,) = (cache / "index").iterdir()
    entry.write_bytes(entry.read_bytes()[:100])
    assert whole(root).fingerprint == before.fingerprint


def test_unwritable_cache_is_no_error(tmp_path, write_files, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("SSL_CACHE", str(file / "below"))
    assert len(whole(write_files(tmp_path / "data", {"0.png": 0}))) == 1


def test_link_back_to_a_folder_above_ends_the_scan(tmp_path, write_files):
    root = write_files(tmp_path, {"a/0.png": 0})
    (root / "a" / "up").symlink_to(root)
    assert len(whole(root)) == 1


def test_linked_folders_are_read_and_named_by_the_check(tmp_path, write_files):
    root = write_files(tmp_path, {f"{p}/{c}.png": i for i, (p, c) in enumerate(LINKED)})
    (root / "test" / "cat").symlink_to(root / "train" / "cat")
    (root / "train" / "cat" / "up").symlink_to(root)
    assert len(open_source(str(root), part="test")) == 2
    findings = [f"{found.what} {found.where}" for found in check(str(root)).findings]
    assert any("1 held-out images are files that are trained on too" in each for each in findings)
    assert any("2 links lead back to a folder above" in f and "cat/up" in f for f in findings)


@pytest.mark.parametrize("kind", ["hard", "symbolic"])
def test_a_table_or_folder_of_linked_files_is_told(tmp_path, write_files, kind):
    root = write_files(tmp_path, {"train/a/0.png": 0, "train/b/1.png": 1, "test/b/2.png": 2})
    linked = root / "test" / "a" / "0.png"
    linked.parent.mkdir()
    (linked.hardlink_to if kind == "hard" else linked.symlink_to)(root / "train/a/0.png")
    splits = open_splits(DataConfig(source=str(root), image_size=8, mean=[0] * 3, std=[1] * 3))
    (remark,) = shared_files(splits.train, splits.test)
    assert remark.what.startswith("1 held-out images")
    assert remark.where == str(linked)


def test_folder_of_train_and_test_archives_has_parts(tmp_path, write_tar):
    write_tar(tmp_path / "train.tar", {"train/a/0.png": 0, "train/b/1.png": 1})
    write_tar(tmp_path / "val.tar", {"val/b/2.png": 2})
    train, test = (open_source(str(tmp_path), part=part) for part in ("train", "test"))
    assert (len(train), len(test)) == (2, 1)
    assert test.class_names == ("a", "b")
    assert test.labels.tolist() == [1]


def test_pattern_of_archives_is_one_set(tmp_path, write_tar, encode):
    for shard in range(3):
        write_tar(tmp_path / f"train-{shard}.tar", {f"a/{shard}.png": shard, f"b/{shard}.png": 9})
    source = whole(tmp_path / "train-*.tar")
    assert source.labels.tolist() == [0, 1] * 3
    assert source.read(4) == encode(2)


@pytest.mark.parametrize("column", ["label", "title"])
@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t"), ("csv", "\t")])
def test_table_names_images(tmp_path, write_files, column, suffix, separator):
    write_files(tmp_path, {"a.png": 0, "in/b.png": 1})
    caption = "a cat, asleep" if suffix == "tsv" else '"a cat, asleep"'
    rows = [("filepath", column), ("a.png", "dog"), ("in/b.png", caption)]
    table = tmp_path / f"table.{suffix}"
    table.write_text("".join(separator.join(row) + "\n" for row in rows))
    source = whole(table)
    assert source.load(1).shape == (8, 8, 3)
    if column == "label":
        assert source.class_names == ("a cat, asleep", "dog")
    else:
        assert source.titles == [("dog",), ("a cat, asleep",)]


def test_quotation_marks_are_characters_of_a_tsv(tmp_path):
    rows = ['"0.png\t5" screen', '1.png\t"open', '2.png\t"a" and "b"']
    (tmp_path / "t.tsv").write_text("filepath\ttitle\n" + "\n".join(rows) + "\n")
    source = whole(tmp_path / "t.tsv")
    assert source.files == ['"0.png', "1.png", "2.png"]
    assert source.titles == [('5" screen',), ('"open',), ('"a" and "b"',)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_caption_in_quotation_marks_may_hold_anything(tmp_path, end):
    caption = f'a, "b"{end}c\td'
    quoted = '"' + caption.replace('"', '""') + '"'
    text = end.join(["\ufefffilepath,title", f"0.png,{quoted}", "", '1.png,5" screen', ""])
    (tmp_path / "t.csv").write_text(text, "utf-8", newline="")
    source = whole(tmp_path / "t.csv")
    assert source.titles == [(caption,), ('5" screen',)]
    assert source.files == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('2.png,"cat', "never closed"),
        ('2.png,"cat"s', "after a closing quotation mark"),
        ("2.png", "has 1 cells, and there are 2 columns"),
        ("2.png,cat,dog", "has 3 cells"),
        ('2.png,"cat\ndog"', "has a line break in its label"),
        ('"2\n.png",cat', "has a line break in its filepath"),
        ("2.png,", "lacks its label"),
    ],
)
def test_damaged_rows_of_images_are_refused_by_their_line(tmp_path, row, said):
    rows = ["filepath,label", '"0.png","cat"', "1.png,dog", row, "3.png,cat", "4.png,cat"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    refused = fault(tmp_path / "t.csv")
    assert said in refused.what
    assert refused.where.endswith("t.csv:4")


def test_all_damaged_lines_of_a_table_are_named(tmp_path):
    (tmp_path / "t.tsv").write_text("filepath\tlabel\na.png\na.png\tcat\na.png\tcat\t\nb.png\n")
    refused = fault(tmp_path / "t.tsv")
    assert refused.where.endswith("t.tsv:2")
    assert refused.hint.endswith("lines 4, 5")


def test_damaged_lines_of_sentences_are_counted_and_named(tmp_path):
    (tmp_path / "s.csv").write_text('id,sentence\n1,one\n2,"two\n3,three\n4\n5,"five, six"\n')
    source = whole(tmp_path / "s.csv")
    assert source.texts == ["one", "three", "five, six"]
    (remark,) = source.remarks()
    assert remark.what == "2 damaged or empty lines were passed over: 3, 5"
    assert "never closed" in remark.hint or "after a closing" in remark.hint


def test_a_split_column_parts_a_table(tmp_path):
    rows = ["a.png,train", "b.png,Test", "c.png,val", "d.png,extra"]
    (tmp_path / "t.csv").write_text("filepath,split,label\n" + "".join(f"{r},cat\n" for r in rows))
    source = whole(tmp_path / "t.csv")
    assert source.parts.tolist() == [1, 2, 0, 0]
    (oddity,) = source.oddities
    assert oddity.what.startswith("1 rows are of neither part")
    assert oddity.where.endswith("d.png")


def test_integer_labels_sort_by_value(tmp_path, write_files):
    write_files(tmp_path, {"a.png": 0})
    table = tmp_path / "t.csv"
    table.write_text("filepath,label\n" + "".join(f"a.png,{label}\n" for label in (10, 9, 2)))
    assert whole(table).class_names == ("2", "9", "10")


@pytest.mark.parametrize("name", ["s.txt", "s.txt.gz", "s.csv"])
def test_sentences_are_text_without_pixels(tmp_path, name):
    text = "one\n\ntwo, three\n" if "txt" in name else 'sentence\none\n"two, three"\n'
    data = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    (tmp_path / name).write_bytes(data)
    source = whole(tmp_path / name)
    assert isinstance(source, Sentences)
    assert source.texts == ["one", "two, three"]
    with pytest.raises(DataError, match="not images"):
        source.load(0)


def test_sources_pickle(tmp_path, write_files, write_tar):
    write_files(tmp_path / "f", {"a.png": 0})
    for spec in (tmp_path / "f", write_tar(tmp_path / "x.tar", {"a.png": 0}), "digits"):
        source = whole(spec)
        source.load(0)
        assert np.array_equal(pickle.loads(pickle.dumps(source)).load(0), source.load(0))


def test_missing_folder_suggests_the_nearest(tmp_path, write_files):
    write_files(tmp_path, {"photos/0.png": 0})
    assert str(tmp_path / "photos") in fault(tmp_path / "photo").hint
    assert "cifar10" in fault("cifar-10").hint


@pytest.mark.parametrize("files", [{}, {"notes.md": b"no image"}, {"empty/.hidden.png": b""}])
def test_folder_without_images_is_refused(tmp_path, write_files, files):
    assert "no images" in str(fault(write_files(tmp_path, files)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.pdf", b"%PDF"),
        ("x.tar.gz", b""),
        ("x.csv", b"file,class\na,b\n"),
        ("x.csv", b"filepath,label\n"),
        ("x.csv", b"filepath,label\na.png,\n"),
        ("x.csv", b""),
        ("x.txt", b"\n\n"),
        ("x.txt", b"\xff\xfe\x00"),
        ("x.txt.gz", b"not gzip"),
    ],
)
def test_wrong_files_are_refused_with_a_hint(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert str(tmp_path) in fault(tmp_path / name).where


def test_pattern_without_matches_is_refused(tmp_path):
    assert "no file" in str(fault(tmp_path / "train-*.tar"))


def test_test_part_of_a_set_without_one_is_refused(tmp_path, write_files):
    assert "data.test" in fault(write_files(tmp_path, {"0.png": 0}), part="test").hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder_is_refused(tmp_path, write_files):
    write_files(tmp_path, {"a/0.png": 0})
    (tmp_path / "a").chmod(0)
    try:
        assert "read" in str(fault(tmp_path))
    finally:
        (tmp_path / "a").chmod(0o700)


@pytest.mark.parametrize("name", sorted({*builtin.NAMES} - {*builtin.OFFLINE}))
def test_missing_torchvision_set_asks_for_download(tmp_path, name):
    assert "`download`" in fault(name, root=tmp_path).hint
    assert not any(tmp_path.iterdir())


def test_available_says_what_is_here(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert [each.name for each in builtin.available(tmp_path) if each.present] == [
        *builtin.OFFLINE,
        "cifar10",
    ]


def test_mnist_files_under_root_are_read(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 3), ("t10k", 2)):
        pixels = np.arange(count, dtype=np.uint8).repeat(28 * 28).tobytes()
        header = b"\0\0\x08\x03" + np.array([count, 28, 28], dtype=">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels)
        header = b"\0\0\x08\x01" + np.array([count], dtype=">i4").tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + bytes(range(count)))
    test = open_source("mnist", part="test", root=tmp_path)
    assert len(test) == 2
    assert test.load(1).shape == (28, 28, 3)
    assert test.labels.tolist() == [0, 1]


def test_a_link_to_itself_is_an_unreadable_image(tmp_path, write_files):
    root = write_files(tmp_path / "set", {"a.png": 0})
    (root / "b.png").symlink_to("b.png")
    source = whole(root)
    assert len(source) == 2
    with pytest.raises(DataError, match="cannot be read"):
        source.load(1)


def test_a_table_with_impossible_names_says_so(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(f"filepath,label\n{'x' * 5_000}.png,1\n/dev/zero,2\n")
    source = whole(table)
    assert source.remarks()[0].what == "2 of 2 files of the table are missing"
    for row in range(2):
        with pytest.raises(DataError, match="cannot be read"):
            source.load(row)


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sslcli.data.sources.tables._MAX_BYTES", 1_000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(bytes(100_000)))
    assert "more than 1,000 bytes" in fault(tmp_path / "t.csv.gz").what
