import io
import tarfile

import numpy as np
import pytest

from sslcli.data.sources.check import check
from sslcli.data.sources.open import open_source
from sslcli.errors import DataError

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def opened(path):
    return open_source(str(path), part=None)


def names(source):
    return [source.describe(row).partition(": ")[2] for row in range(len(source))]


@pytest.mark.parametrize("form", FORMS)
def test_members_are_read_in_place(tmp_path, write_tar, encode, form):
    long = "deep/" * 20 + "n" * 90 + ".png"
    path = write_tar(tmp_path / "x.tar", {"a/0.png": 0, long: 1, "b/\u00e9.png": 2}, form)
    source = opened(path)
    assert names(source) == ["a/0.png", long, "b/\u00e9.png"]
    assert [source.read(row) for row in range(3)] == [encode(row) for row in range(3)]


@pytest.mark.parametrize("form", FORMS[1:])
def test_very_long_names_do_not_shift_what_follows(tmp_path, write_tar, encode, form):
    long = "f" * 300 + "/" + "n" * 200 + ".png"
    source = opened(write_tar(tmp_path / "x.tar", {long: 0, "b/1.png": 1}, form))
    assert names(source) == [long, "b/1.png"]
    assert source.read(1) == encode(1)


def test_parent_folder_is_the_label(tmp_path, write_tar):
    source = opened(
        write_tar(tmp_path / "x.tar", {"set/b/0.png": 0, "set/a/1.png": 1, "set/a/2.png": 2})
    )
    assert source.class_names == ("a", "b")
    assert source.labels.tolist() == [1, 0, 0]


def test_leading_train_and_test_folders_are_parts(tmp_path, write_tar):
    path = write_tar(
        tmp_path / "x.tar", {"train/a/0.png": 0, "train/b/1.png": 1, "test/b/2.png": 2}
    )
    test = open_source(str(path), part="test")
    assert test.class_names == ("a", "b")
    assert test.labels.tolist() == [1]


def test_lone_leading_part_is_no_class(tmp_path, write_tar):
    assert opened(write_tar(tmp_path / "x.tar", {"dev/0.png": 0, "dev/1.png": 1})).labels is None


def test_cls_members_are_labels(tmp_path, write_tar):
    members = {"0.png": 0, "0.cls": b"7\n", "1.png": 1, "1.cls": b"10", "2.cls": b"7", "2.png": 2}
    source = opened(write_tar(tmp_path / "x.tar", members))
    assert source.class_names == ("7", "10")
    assert source.labels.tolist() == [0, 1, 0]


def test_missing_cls_member_is_named(tmp_path, write_tar):
    members = {"0.png": 0, "0.cls": b"7", "1.png": 1}
    with pytest.raises(DataError, match=r"1 of 2 images have no \.cls") as caught:
        opened(write_tar(tmp_path / "x.tar", members))
    assert caught.value.where.endswith("1.png")


def test_climbing_and_absolute_names_are_only_names(tmp_path, write_tar, encode):
    path = write_tar(tmp_path / "x.tar", {"../../evil/0.png": 0, "/etc/evil/1.png": 1})
    source = opened(path)
    assert [source.read(row) for row in range(2)] == [encode(0), encode(1)]
    assert list(tmp_path.iterdir()) == [path]
    assert any("climb" in finding.what for finding in check(str(path)).findings)


def test_hidden_and_foreign_members_are_passed_over(tmp_path, write_tar):
    members = {"a/._0.png": b"x", "a/0.png": 0, "a/notes.txt": b"x"}
    source = opened(write_tar(tmp_path / "x.tar", members))
    assert len(source) == 1
    assert source.counts == {"links": 0, "others": 2, "endless": 0}


def with_links(path, links):
    with tarfile.open(path, "a") as archive:
        for name, kind, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_links_within_an_archive_are_followed(tmp_path, write_tar, encode, form):
    target = "train/a/" + "n" * 80 + "0.png"
    path = write_tar(tmp_path / "x.tar", {target: 0, "train/b/1.png": 1, "blob": 2}, form)
    links = [
        ("test/a/0.png", tarfile.LNKTYPE, target),
        ("test/b/1.png", tarfile.SYMTYPE, "../../train/b/1.png"),
        ("test/b/2.png", tarfile.SYMTYPE, "../../blob"),
        ("test/b/3.png", tarfile.SYMTYPE, "1.png"),
        ("val", tarfile.SYMTYPE, "train"),
    ]
    source = opened(with_links(path, links))
    found = {name: source.read(row) for row, name in enumerate(names(source))}
    assert found["test/a/0.png"] == found["val" + target[5:]] == encode(0)
    assert found["test/b/1.png"] == found["test/b/3.png"] == found["val/b/1.png"] == encode(1)
    assert found["test/b/2.png"] == encode(2)
    assert source.counts["links"] == 0
    assert any("trained on too" in finding.what for finding in check(str(path)).findings)


def test_links_to_nothing_are_counted_with_what_would_help(tmp_path, write_tar):
    path = write_tar(tmp_path / "x.tar", {"a/0.png": 0})
    links = [
        ("a/1.png", tarfile.LNKTYPE, "b/1.png"),
        ("a/2.png", tarfile.SYMTYPE, "../../0.png"),
        ("a/3.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("a/up", tarfile.SYMTYPE, ".."),
        ("a/4.png", tarfile.SYMTYPE, "4.png"),
    ]
    source = opened(with_links(path, links))
    assert names(source) == ["a/0.png"]
    (remark,) = source.remarks()
    assert remark.what.startswith("5 links lead to nothing")
    assert "--hard-dereference" in remark.hint


@pytest.mark.parametrize("keep", [0.3, 0.75])
def test_truncated_archive_is_refused(tmp_path, write_tar, keep):
    path = write_tar(tmp_path / "x.tar", {f"{row}.png": bytes(3000) for row in range(5)})
    data = path.read_bytes()[: 5 * 3584]  # without the end mark
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match="cut short"):
        opened(path)


def test_archive_without_end_mark_is_read(tmp_path, write_tar):
    path = write_tar(tmp_path / "x.tar", {f"{row}.png": bytes(3000) for row in range(5)})
    path.write_bytes(path.read_bytes()[: 5 * 3584])
    source = opened(path)
    assert len(source) == 5
    assert "no mark" in source.remarks()[0].what


@pytest.mark.parametrize("data", [b"no tar", bytes(range(256)) * 4])
def test_other_files_are_no_archives(tmp_path, data):
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match="no tar archive"):
        opened(tmp_path / "x.tar")


def test_compressed_archive_says_how_to_unpack(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("0.png"), io.BytesIO())
    with pytest.raises(DataError, match="gzip") as caught:
        opened(tmp_path / "x.tar")
    assert "gzip -d" in caught.value.hint


@pytest.mark.parametrize("data", [b"", bytes(1024)])
def test_empty_archive_is_refused(tmp_path, data):
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match="no images"):
        opened(tmp_path / "x.tar")


def test_index_is_kept_until_the_archive_changes(tmp_path, write_tar, monkeypatch):
    path = write_tar(tmp_path / "x.tar", {"0.png": 0})
    opened(path)
    with monkeypatch.context() as patch:
        patch.setattr("sslcli.data.sources.tarindex.Headers", None)
        assert len(opened(path)) == 1
    write_tar(path, {"0.png": 0, "1.png": 1})
    source = opened(path)
    assert len(source) == 2
    assert np.array_equal(source.load(1).shape, (8, 8, 3))


def test_size_beyond_the_octal_field_is_understood(tmp_path):
    member = tarfile.TarInfo("0.png")
    member.size = 2**34
    header = member.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "x.tar").write_bytes(header)
    with pytest.raises(DataError, match=r"cut short within the member 0\.png"):
        opened(tmp_path / "x.tar")


@pytest.mark.parametrize("size", ["1e3", "-5", "9" * 30, ""])
def test_a_pax_size_that_is_none_is_refused(tmp_path, size):
    member = tarfile.TarInfo("0.png")
    member.pax_headers = {"size": size}
    (tmp_path / "x.tar").write_bytes(member.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with pytest.raises(DataError, match=r"size that is none|cut short"):
        opened(tmp_path / "x.tar")


@pytest.mark.parametrize("field", [b"9", b"-0000000001", b"\xff" * 12])
def test_a_size_field_that_is_no_number_is_refused(tmp_path, field):
    header = bytearray(tarfile.TarInfo("0.png").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = field.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x.tar").write_bytes(header + bytes(1024))
    with pytest.raises(DataError, match="size that is none"):
        opened(tmp_path / "x.tar")


def test_names_too_long_for_any_system_are_refused(tmp_path, write_tar):
    path = write_tar(tmp_path / "x.tar", {"n" * 5_000 + ".png": 0})
    with pytest.raises(DataError, match=r"a name of 5,004 bytes"):
        opened(path)


def test_many_pax_records_are_parsed_in_one_pass(tmp_path):
    header, member = tarfile.TarInfo("@PaxHeader"), tarfile.TarInfo("0.png")
    records = b"6 a=1\n" * 150_000 + b"14 path=1.png\n"  # copying the rest for each: minutes
    header.type, header.size, member.size = tarfile.XHDTYPE, len(records), 1
    blocks = header.tobuf(), records.ljust(-(-len(records) // 512) * 512, b"\0"), member.tobuf()
    (tmp_path / "x.tar").write_bytes(b"".join(blocks) + b"x".ljust(512 * 3, b"\0"))
    assert names(opened(tmp_path / "x.tar")) == ["1.png"]
