"""The run directory: the files that trainings and evaluations write.

config.toml             the resolved config; feed it back with --config
checkpoint.safetensors  the newest weights, self-describing
best.safetensors        the weights that measured best, if they are kept
state/                  resumable states
metrics.jsonl           one line each logging step
results.jsonl           one line each evaluation
figures/, tensorboard/
.lock                   held by the process that trains here
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sslcli.errors import CheckpointError, UsageError
from sslcli.files import is_alive, storage_fault, to_json, write_atomically

CONFIG = "config.toml"
_LOCK = ".lock"
_held: dict[tuple[int, str], FileLock] = {}  # by process, since forks inherit it, and folder


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise UsageError unless a run may be made here: nothing is there, or a run to replace."""
    if not folder.exists() or (folder.is_dir() and _is_empty(folder)):
        return
    if not overwrite:
        hint = "choose another `out`, go on with `resume`, or replace it with `overwrite`"
        raise UsageError("this folder already holds something", str(folder), hint)
    if not (folder / CONFIG).is_file():
        hint = "`overwrite` replaces runs only; choose another `out`"
        raise UsageError("this is not a run directory", str(folder), hint)


def _is_empty(folder: Path) -> bool:
    """Tell whether the folder holds nothing but what a run leaves that was killed as it began."""
    left = (path.name for path in folder.iterdir())
    return all(name == _LOCK or (name[0] == "." and name.endswith(".tmp")) for name in left)


def create_run(folder: Path, *, overwrite: bool) -> None:
    """Make an empty run directory that is this process's, in place of an older run if asked.

    Raises:
        UsageError: See `check_free` and `lock_run`.
        ResourceError: If the folder cannot be made.
    """
    check_free(folder, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock_run(folder)
        check_free(folder, overwrite=overwrite)  # another process may have come first
        for left in folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            elif left.name != _LOCK:
                left.unlink()
    except OSError as error:
        raise storage_fault(error, folder) from error


def lock_run(folder: Path, patience: float = 5.0) -> None:
    """Keep other processes from training in this folder until `unlock_run`.

    The system drops the lock with the process, however that ends, so nothing is ever left to clean
    up; worker processes do not inherit it. A folder that this process has locked stays its own.

    Args:
        folder: The run directory.
        patience: Seconds to wait for a process that is just ending.

    Raises:
        UsageError: If another process holds the lock.
        ResourceError: If the lock cannot be made.
    """
    file, own = folder / _LOCK, _own(folder)
    if own in _held:
        return
    lock = FileLock(file, timeout=patience, mode=0o666, poll_interval=0.1)
    try:
        lock.acquire()
        _held[own] = lock
        with suppress(PermissionError):  # Windows lets nobody write to what is locked
            file.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        _clear_left_over(folder)
    except Timeout as error:
        hint = "wait until it has ended, stop it, or choose another `out`"
        raise UsageError(
            f"{_holder(file)} is training in this folder", str(folder), hint
        ) from error
    except OSError as error:
        raise storage_fault(error, file) from error


def _holder(file: Path) -> str:
    """Return who has written to a lock."""
    with suppress(PermissionError):
        return file.read_text(encoding="utf-8") or "another process"
    return "another process"


def unlock_run(folder: Path) -> None:
    """Let other processes train in this folder again; without a lock there is nothing to do."""
    if lock := _held.pop(_own(folder), None):
        lock.release()


def _own(folder: Path) -> tuple[int, str]:
    return os.getpid(), os.path.realpath(folder)


def _clear_left_over(folder: Path) -> None:
    """Remove the temporary files of `write_atomically` whose process was killed."""
    for left in folder.glob(".*.tmp"):
        number = left.name.split(".")[-2]
        if left.is_file() and number.isdigit() and not is_alive(int(number)):
            left.unlink(missing_ok=True)


def resumable_run(folder: Path) -> Path:
    """Return the config file of a run to resume; it may have saved no state yet.

    Raises:
        CheckpointError: If the folder is no run; never a silent fresh start.
    """
    if not (folder / CONFIG).is_file():
        hint = "leave out `resume` to start it"
        raise CheckpointError("there is no run to resume", str(folder), hint)
    return folder / CONFIG


def append_line(file: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON line, whole even when several processes append at the same time."""
    try:
        with file.open("ab", buffering=0) as opened:
            opened.write(f"{to_json(row)}\n".encode())
    except OSError as error:
        raise storage_fault(error, file) from error


def truncate_metrics(file: Path, step: int) -> None:
    """Drop the lines of a log after `step`, which a resumed run writes again."""
    if file.is_file():
        kept = "".join(f"{line}\n" for line, _ in _rows(file, step))
        write_atomically(file, lambda path: path.write_text(kept, encoding="utf-8"))


def read_metrics(file: Path, step: int) -> list[dict[str, Any]]:
    """Return step, loss and data_wait of the rows of a log up to `step` whose loss is finite."""
    if not file.is_file():
        return []
    names = ("step", "loss", "data_wait")
    rows = ({name: row.get(name) for name in names} for _, row in _rows(file, step))
    return [row for row in rows if None not in row.values()]


def _rows(file: Path, step: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the whole lines of a log up to `step`, as they are and parsed."""
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            if row["step"] <= step:
                yield line, row
        except (ValueError, KeyError, TypeError):
            continue  # a line that a killed process left half-written


def timestamp() -> str:
    """Return the time in UTC, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
