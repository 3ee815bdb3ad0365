"""The run directory: what a training run or an evaluation leaves behind.

config.toml             the resolved config; feed it back with --config
checkpoint.safetensors  the newest weights, self-describing
state/                  resumable states
metrics.jsonl           one line each logging step
results.jsonl           one line each evaluation
figures/, tensorboard/
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslcli.engine.files import storage_fault, to_json, write_atomically
from sslcli.engine.state import has_state
from sslcli.errors import CheckpointError, UsageError

CONFIG = "config.toml"


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise UsageError unless a run may be made here: nothing is there, or a run to replace."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        hint = "choose another --out, go on with --resume, or replace it with --overwrite"
        raise UsageError("this folder already holds something", str(folder), hint)
    if not (folder / CONFIG).is_file():
        hint = "--overwrite replaces runs only; choose another --out"
        raise UsageError("this is not a run directory", str(folder), hint)


def create_run(folder: Path, *, overwrite: bool) -> None:
    """Make an empty run directory, in place of an older run if `overwrite` says so.

    Raises:
        UsageError: See `check_free`.
        ResourceError: If the folder cannot be made.
    """
    check_free(folder, overwrite=overwrite)
    try:
        if overwrite and folder.exists():
            shutil.rmtree(folder)
        # Only one of two processes can make this folder, and so claim the run.
        (folder / "state").mkdir(parents=True)
    except FileExistsError as error:
        hint = "another process began a run here; choose another --out"
        raise UsageError("this folder already holds something", str(folder), hint) from error
    except OSError as error:
        raise storage_fault(error, folder) from error


def resumable_run(folder: Path) -> Path:
    """Return the run's config file.

    Raises:
        CheckpointError: If the folder is no run or has no state; never a silent fresh start.
    """
    hint = "leave out --resume to start it"
    if not (folder / CONFIG).is_file():
        raise CheckpointError("there is no run to resume", str(folder), hint)
    if not has_state(folder):
        hint = "it stopped before its first save; start it again with --overwrite"
        raise CheckpointError("this run has no state to resume from", str(folder), hint)
    return folder / CONFIG


def append_line(file: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON line, whole even when several processes append at the same time."""
    try:
        with file.open("ab", buffering=0) as opened:
            opened.write(f"{to_json(row)}\n".encode())
    except OSError as error:
        raise storage_fault(error, file) from error


def truncate_metrics(file: Path, step: int) -> None:
    """Drop the lines of a log that lie after `step`, which a resumed run writes again."""
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # a line that a killed process left half-written
    write_atomically(file, lambda path: path.write_text("".join(kept), encoding="utf-8"))


def timestamp() -> str:
    """Return the time in UTC, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
