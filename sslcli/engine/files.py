"""Write files that are either the old ones or the new ones, whenever the machine stops."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from sslcli.errors import ResourceError, SslError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a temporary file beside `path`, flush it to disk and rename it.

    Raises:
        ResourceError: If the disk is full, read-only or not ours; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        raise storage_fault(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Ask the system to put a file or a folder's entries on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_fault(error: OSError, path: Path) -> SslError:
    """Return the error to raise when writing to `path` failed."""
    if error.errno in _NO_ROOM:
        hint = "free some space or choose another folder; what was saved before is intact"
        return ResourceError(f"cannot write: {error.strerror}", str(path), hint)
    return ResourceError(f"cannot write: {error}", str(path), "choose another folder with --out")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
