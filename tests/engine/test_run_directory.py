"""The run directory: who may make it, and what is appended to it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest

from sslcli.engine import run_directory as run_folder
from sslcli.engine.run_directory import (
    append_line,
    create_run,
    lock_run,
    resumable_run,
    truncate_metrics,
    unlock_run,
)
from sslcli.errors import CheckpointError, UsageError


def hold(run, answer):
    """Make a run and keep it until told to end; wait for another one's only shortly."""
    run_folder.lock_run = partial(lock_run, patience=0.3)
    try:
        create_run(run, overwrite=True)
        answer.send("made")
        answer.recv()
    except UsageError as error:
        answer.send(error.what)


@pytest.fixture
def rival(tmp_path):
    """Return a function that has another process make a run, and what it answered."""
    started = []

    def start(run):
        ours, theirs = get_context("fork").Pipe()
        process = get_context("fork").Process(target=hold, args=(run, theirs))
        process.start()
        theirs.close()
        started.append((process, ours))
        return process, ours

    yield start
    for process, pipe in started:
        process.kill()
        process.join()
        pipe.close()


def test_a_run_belongs_to_one_process_until_that_ends(tmp_path, rival):
    holder, answer = rival(tmp_path / "run")
    assert answer.recv() == "made"
    with pytest.raises(UsageError, match=f"process {holder.pid} on .* is training"):
        lock_run(tmp_path / "run", patience=0.2)
    holder.kill()
    lock_run(tmp_path / "run", patience=5.0)


def test_a_run_that_is_given_back_may_be_locked_by_another_process(tmp_path, rival):
    create_run(tmp_path / "run", overwrite=False)
    (tmp_path / "run" / "config.toml").touch()
    _, answer = rival(tmp_path / "run")
    assert "is training" in answer.recv()
    unlock_run(tmp_path / "run")
    _, answer = rival(tmp_path / "run")
    assert answer.recv() == "made"


def test_overwriting_spares_a_run_that_goes_on(tmp_path, rival):
    _, answer = rival(tmp_path / "run")
    answer.recv()
    (tmp_path / "run" / "config.toml").touch()
    _, other = rival(tmp_path / "run")
    assert "is training" in other.recv()
    assert (tmp_path / "run" / "config.toml").exists()


def test_overwriting_leaves_nothing_of_the_old_run(tmp_path):
    create_run(tmp_path / "run", overwrite=False)
    (tmp_path / "run" / "state").mkdir()
    for name in ("config.toml", "metrics.jsonl", "state/step-1"):
        (tmp_path / "run" / name).touch()
    create_run(tmp_path / "run", overwrite=True)
    assert [path.name for path in (tmp_path / "run").rglob("*")] == [".lock"]


def test_what_a_killed_start_leaves_counts_as_nothing(tmp_path):
    for name in (".lock", ".config.toml.17.tmp"):
        (tmp_path / name).touch()
    create_run(tmp_path, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_going_on_clears_what_a_killed_process_left_and_nothing_else(tmp_path, rival):
    dead, answer = rival(tmp_path / "other")
    answer.recv()
    dead.kill()
    dead.join()
    left = tmp_path / f".checkpoint.safetensors.{dead.pid}.tmp"
    writing = tmp_path / f".checkpoint.safetensors.{os.getppid()}.tmp"
    for file in (left, writing, tmp_path / ".notes.tmp", tmp_path / "config.toml"):
        file.touch()
    lock_run(tmp_path)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {writing.name, ".notes.tmp", "config.toml", ".lock", "other"}


def test_an_empty_folder_may_become_a_run(tmp_path):
    create_run(tmp_path, overwrite=False)
    (tmp_path / "config.toml").touch()
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


def test_a_folder_without_a_config_is_no_run(tmp_path):
    create_run(tmp_path / "run", overwrite=False)
    with pytest.raises(CheckpointError, match="no run"):
        resumable_run(tmp_path / "run")
