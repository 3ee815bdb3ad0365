import dataclasses
import json

import numpy as np
from PIL import Image

from sslcli.data.images.store import pack
from sslcli.data.sources.check import check
from sslcli.data.sources.splits import open_splits


def messages(report, severity):
    return " | ".join(f.what for f in report.findings if f.severity == severity)


def test_sound_set_has_no_findings(tmp_path, write_files):
    names = [f"{part}/{name}/{i}.png" for part in ("train", "test") for name in "ab" for i in "01"]
    files = {name: seed for seed, name in enumerate(names)}
    report = check(str(write_files(tmp_path, files)))
    assert report.ok
    assert report.findings == []
    assert report.classes == {"a": 4, "b": 4}
    assert report.parts == {"train": 4, "test": 4}
    assert report.sizes == {"8x8": 8}
    assert report.modes == {"RGB": 8}


def test_everything_wrong_is_reported_at_once(tmp_path, write_files, encode):
    files = {
        "train/a/0.png": 0,
        "train/a/same.png": 0,
        "train/a/1.png": encode(1, size=(9, 8)),
        "test/a/0.png": 0,
        "test/a/notes.md": b"",
        "train/b/cut.png": encode(2)[:60],
        "train/b/empty.png": b"",
        "train/b/3.png": 3,
    }
    (write_files(tmp_path, files) / "train" / "c").mkdir()
    report = check(str(tmp_path))
    assert (report.unreadable, report.duplicates, report.overlap) == (2, 2, 1)
    assert {file.partition(":")[0].rpartition("/")[2] for file in report.unreadable_files} == {
        "cut.png",
        "empty.png",
    }
    assert report.sizes == {"8x8": 4, "9x8": 1}
    assert "2 of 7 images are unreadable" in messages(report, "error")
    for part in ("holds no images", "are no images", "repeat", "in the training part", "absent"):
        assert part in messages(report, "warning")
    assert not report.ok


def test_few_unreadable_images_are_a_warning(tmp_path, write_files):
    report = check(str(write_files(tmp_path, {"0.png": 0, "1.png": b""})), max_bad_fraction=0.5)
    assert report.ok
    assert "1 of 2" in messages(report, "warning")


def test_one_class_is_a_warning(tmp_path, write_files):
    report = check(str(write_files(tmp_path, {"cat/0.png": 0, "cat/1.png": 1})))
    assert "one class" in messages(report, "warning")


def test_missing_files_of_a_table_are_an_error(tmp_path, write_files):
    write_files(tmp_path, {"a.png": 0})
    (tmp_path / "t.csv").write_text("filepath,title\na.png,\nnone.png,dog\na.png,cat\n")
    report = check(str(tmp_path / "t.csv"))
    assert "1 of 2 files of the table are missing" in messages(report, "error")
    assert "1 titles are empty" in messages(report, "warning")


def test_rows_of_a_table_that_repeat_a_file_are_a_warning(tmp_path, write_files):
    write_files(tmp_path, {"a.png": 0, "b.png": 1})
    (tmp_path / "t.csv").write_text("filepath,label\na.png,dog\nb.png,cat\na.png,dog\n")
    assert "1 rows repeat a file" in messages(check(str(tmp_path / "t.csv")), "warning")


def test_sentences_are_counted(tmp_path):
    (tmp_path / "s.txt").write_text("one\n\none\ntwo\n")
    report = check(str(tmp_path / "s.txt"))
    assert (report.kind, report.count, report.duplicates) == ("sentences", 3, 1)
    assert "empty lines" in messages(report, "warning")


def test_set_that_cannot_be_opened_is_an_error(tmp_path):
    report = check(str(tmp_path / "none"))
    assert not report.ok
    assert report.findings[0].hint


def test_report_is_json(tmp_path, write_files):
    report = check(str(write_files(tmp_path, {"0.png": 0})))
    assert json.loads(json.dumps(dataclasses.asdict(report)))["count"] == 1


def test_modes_are_as_stored(tmp_path, write_files):
    import io

    from PIL import Image

    files = {}
    for mode in ("L", "RGBA", "P"):
        buffer = io.BytesIO()
        Image.new(mode, (4, 4)).save(buffer, "PNG")
        files[f"{mode}.png"] = buffer.getvalue()
    report = check(str(write_files(tmp_path, files)))
    assert report.modes == {"L": 1, "RGBA": 1, "P": 1}


def twelve_bits(folder):
    values = np.linspace(0, 4095, 64).round().astype(np.uint16).reshape(8, 8)
    for name in ("a/0", "a/1", "b/0", "b/1"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.roll(values, len(list(folder.rglob("*"))))).save(folder / f"{name}.png")
    return str(folder)


def test_sixteen_bits_that_are_hardly_used_are_remarked_on(tmp_path):
    report = check(twelve_bits(tmp_path))
    (finding,) = report.findings
    assert "up to 4,095 of 65,535" in finding.what
    assert "data.white_point, to 4095" in finding.hint
    assert check(str(tmp_path), white_point=4095).findings == []


def test_the_white_point_reaches_every_image_and_every_cache(tmp_path, options):
    data = options(source=twelve_bits(tmp_path), white_point=4095)
    splits, dark = open_splits(data), open_splits(options(source=data.source))
    assert pack(splits.train, data).images.max() == pack(splits.test, data).images.max() == 255
    assert pack(dark.train, options()).images.max() == 16  # not what the other left in the cache
    assert splits.train.stamp() != dark.train.stamp()
    assert splits.train.fingerprint == dark.train.fingerprint
