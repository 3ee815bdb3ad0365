"""The run directory: who may make it, and what is appended to it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from sslcli.engine.run import append_line, create_run, resumable_run, truncate_metrics
from sslcli.errors import CheckpointError, UsageError


def test_only_one_of_many_makes_a_run(tmp_path):
    def make(_):
        try:
            create_run(tmp_path / "run", overwrite=False)
        except UsageError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(8))) == 1


def test_an_empty_folder_may_become_a_run(tmp_path):
    create_run(tmp_path, overwrite=False)
    with pytest.raises(UsageError):
        create_run(tmp_path, overwrite=False)


def test_lines_appended_at_once_stay_whole(tmp_path):
    file = tmp_path / "results.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append_line(file, {"n": n, "text": "x" * 20_000}), range(64)))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(row["n"] for row in rows) == list(range(64))


def test_truncation_drops_later_and_broken_lines(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": 5}\n{"step": 3}\n{"st')
    truncate_metrics(file, 3)
    assert file.read_text() == '{"step": 1}\n{"step": 3}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_run_without_a_state_cannot_be_resumed(tmp_path):
    create_run(tmp_path / "run", overwrite=False)
    (tmp_path / "run" / "config.toml").touch()
    with pytest.raises(CheckpointError, match="no state"):
        resumable_run(tmp_path / "run")
