import os
from pathlib import Path

import pytest

from sslcli.config.chain import catalogue, find, load_chain, preset_folders, read_toml
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError


def fault(*arguments, **options) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolve(*arguments, **options)
    return caught.value


def test_chain_begins_with_the_farthest_parent(folder: Path):
    (folder / "sample/leaf.toml").write_text('extends = "sample/tiny"\nseed = 1\n')
    chain = load_chain(find("sample/leaf", "--preset"), "--preset")
    assert [layer.path.stem for layer in chain] == ["tiny", "tiny", "leaf"]
    assert chain[0].path.parent.name == "_base"
    assert chain[-1].table == {"seed": 1}


def test_paths_are_relative_to_the_file_that_names_them(folder: Path, tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/mine.toml").write_text('extends = "../own/sample/tiny.toml"\nseed = 2\n')
    assert resolve(tmp_path / "deep/mine.toml").config.seed == 2


def test_own_presets_come_before_shipped_ones_and_both_are_found(folder: Path):
    assert preset_folders()[0] == folder
    assert "simsiam/digits" in catalogue()
    (folder / "simsiam").mkdir()
    (folder / "simsiam/digits.toml").write_text("")
    assert catalogue()["simsiam/digits"] == folder / "simsiam/digits.toml"


def test_missing_preset_folder_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_PRESETS", "/no/such/folder")
    assert "SSL_PRESETS" in fault("simsiam/digits").where


def test_preset_without_setting_lists_settings(folder: Path):
    error = fault("sample")
    assert error.what == "preset sample lacks its setting"
    assert "sample/tiny" in error.hint


@pytest.mark.parametrize("name", ["sample/tyny", "zample/tiny", "SAMPLE/TINY", "sample/other"])
def test_unknown_preset_names_the_nearest(folder: Path, name: str):
    error = fault(name)
    assert error.what == f"there is no preset {name!r}"
    assert error.where == f"`preset` {name}"
    assert "sample/tiny" in error.hint


@pytest.mark.parametrize("name", ["", "zzz", "../etc/passwd", "/etc/passwd", "a\0b", "zzz/tiny"])
def test_what_is_no_preset_at_all_is_refused(folder: Path, name: str):
    assert "presets list" in fault(name).hint


def test_missing_parent_names_its_child(folder: Path):
    (folder / "sample/leaf.toml").write_text('extends = "sample/tini"\n')
    error = fault("sample/leaf")
    assert error.where == f"{folder / 'sample/leaf.toml'}, field extends"
    assert "sample/tiny" in error.hint


def test_circles_are_drawn(folder: Path):
    (folder / "sample/a.toml").write_text('extends = "sample/b"\n')
    (folder / "sample/b.toml").write_text('extends = "./a.toml"\n')
    error = fault("sample/a")
    assert "circle" in error.what
    assert "a.toml" in error.where
    assert "b.toml" in error.where


@pytest.mark.parametrize("value", ["3", "['sample/tiny']", "true"])
def test_extends_must_be_a_name(folder: Path, value: str):
    (folder / "sample/leaf.toml").write_text(f"extends = {value}\n")
    assert "extends must be" in fault("sample/leaf").what


def test_syntax_errors_tell_line_and_column(folder: Path):
    file = folder / "mine.toml"
    file.write_text("seed = 1\nkeep 3\n")
    error = fault("sample/tiny", file)
    assert error.where == f"{file}, line 2, column 6"
    assert "TOML" in error.what


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x7fELF\x00\xff\xfe", "UTF-8"),
        (b"# " + b"x" * (1 << 20), "too large"),
        (b"a = " + b"[" * 5000, "TOML"),
        (b"a = " + b"9" * 5000, "TOML"),
        (b"a = 0x" + b"f" * 5000, "64 bits"),
        (b"a" + b".a" * 3000 + b" = 1", "nested"),
        (b"a = 1\na = 2\n", "TOML"),
        (b"[views", "TOML"),
    ],
)
def test_files_that_are_no_config_are_refused(folder: Path, content: bytes, what: str):
    file = folder / "mine.toml"
    file.write_bytes(content)
    error = fault("sample/tiny", file)
    assert what in error.what
    assert "mine.toml" in error.where + error.what


@pytest.mark.parametrize("name", [".", "missing.toml", "sample", "n" * 300])
def test_unreadable_files_are_refused(folder: Path, name: str):
    error = fault("sample/tiny", folder / name)
    assert error.what.startswith("cannot read")
    assert error.where == f"`config` {folder / name}"


def test_byte_order_mark_is_no_fault(folder: Path):
    file = folder / "mine.toml"
    file.write_bytes(b"\xef\xbb\xbfseed = 4\r\n")
    assert read_toml(file, "--config") == {"seed": 4}


def test_parents_that_could_be_read_for_ever_are_refused(folder: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "device.toml").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        (tmp_path / "mine.toml").write_text(f'extends = "{name}.toml"\n')
        assert f"{name}.toml is no file" in fault(tmp_path / "mine.toml").what


def test_home_folder_of_nobody_is_refused(folder: Path, tmp_path: Path):
    (tmp_path / "mine.toml").write_text('extends = "~nobody-here/x.toml"\n')
    assert "~nobody-here" in fault(tmp_path / "mine.toml").what
