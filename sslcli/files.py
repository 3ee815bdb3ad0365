"""Write files that are either the old ones or the new ones, whenever the machine stops."""

import errno
import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sslcli.errors import ResourceError, SslError

T = TypeVar("T")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def write_atomically(path: Path, write: Callable[[Path], T]) -> T:
    """Have `write` fill a temporary file beside `path`, flush it to disk and rename it.

    Whatever `write` raises, nothing is left behind, and `path` is as it was; what it returns is
    returned.

    Args:
        path: The file.
        write: Takes the temporary file's path.

    Raises:
        ResourceError: If the disk is full, read-only or not ours.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = write(temporary)
        share(temporary)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
        return made
    except OSError as error:
        raise storage_fault(error, path) from error
    finally:
        with suppress(OSError):  # the parent may be no folder
            temporary.unlink(missing_ok=True)


def fill_atomically(path: Path, fill: Callable[[Path], T]) -> T:
    """Have `fill` write files into a temporary folder beside `path`, and rename it.

    A folder that is there is replaced once the new one is whole. Whatever `fill` raises, nothing is
    left behind; what it returns is returned.

    Raises:
        ResourceError: If the disk is full, read-only or not ours.
    """
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    try:
        temporary.mkdir(parents=True)
        made = fill(temporary)
        for file in temporary.rglob("*"):
            if file.is_file():
                share(file)
            flush(file)
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        flush(path.parent)
        return made
    except OSError as error:
        raise storage_fault(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def share(path: Path) -> None:
    """Give a file the permissions that `open` gives; safetensors keeps others from reading."""
    mask = os.umask(0o022)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def flush(path: Path) -> None:
    """Ask the system to put a file or a folder's entries on the disk."""
    is_windows = sys.platform == "win32"
    if is_windows and path.is_dir():
        return  # it opens no folders, and NTFS logs renames itself
    descriptor = os.open(path, os.O_RDWR if is_windows else os.O_RDONLY)  # where it must be ours
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_fault(error: OSError, path: Path) -> SslError:
    """Return the error to raise when writing to `path` failed."""
    if error.errno in _NO_ROOM:
        hint = "free some space or choose another folder; what was saved before is intact"
    else:
        hint = "choose another place with `out`"
    return ResourceError(f"cannot write: {error.strerror or error}", str(path), hint)


def to_json(content: Mapping[str, Any]) -> str:
    """Return one line of strict JSON, which knows no NaN and no infinity: they become null."""
    return json.dumps(_strict(content), allow_nan=False, ensure_ascii=False)


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _strict(each) for name, each in value.items()}
    return [_strict(each) for each in value] if isinstance(value, list | tuple) else value


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine lives; yes where nobody can ask without harm."""
    if sys.platform == "win32":  # whose signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True
