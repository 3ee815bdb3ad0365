"""Files are the old ones or the new ones, readable by others, and strict JSON."""

import errno
import json
import math
import os

import pytest

from sslcli.errors import ExitCode, ResourceError
from sslcli.files import storage_fault, to_json, write_atomically


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ResourceError, match="No space left") as caught:
        write_atomically(file, fail)
    assert caught.value.exit_code == ExitCode.RESOURCES
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "old"


def test_a_written_file_has_the_usual_permissions(tmp_path):
    def secret(path):
        path.touch(mode=0o600)

    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new" / "a", secret)
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "a").stat().st_mode & 0o777 == 0o640


def test_a_file_where_a_folder_should_be_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot write"):
        write_atomically(tmp_path / "file" / "a", lambda path: path.touch())


def test_json_knows_no_nan_and_no_infinity():
    text = to_json({"a": math.nan, "b": [math.inf, 1.5], "c": {"d": (-math.inf, "\u00e9")}})
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": {"d": [None, "\u00e9"]}}


def test_a_fault_without_a_number_is_told_in_full(tmp_path):
    assert "odd" in storage_fault(OSError("odd"), tmp_path).what
