"""Keep the index of a data set between runs: a few arrays in the cache folder.

The cache is optional: a damaged entry is built again, and a folder that cannot be written is no
error.
"""

import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sslcli.data.sources.base import digest
from sslcli.errors import ResourceError
from sslcli.files import write_atomically

FORMAT = "6"  # raise it when the meaning of a cached array changes
Arrays = dict[str, np.ndarray]
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def cache_folder() -> Path:
    """Return where indexes and decoded images are kept."""
    if chosen := os.environ.get("SSL_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sslcli"


def cached(path: Path, is_fresh: Callable[[Arrays], bool], build: Callable[[], Arrays]) -> Arrays:
    """Return the index of the data at `path`, built only when none is cached or it is stale."""
    return cached_as(f"index/{digest(FORMAT.encode(), _real(path))}", is_fresh, build)


def cached_as(name: str, is_fresh: Callable[[Arrays], bool], build: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that the cache keeps under a name, built when there are none or stale."""
    entry = cache_folder() / f"{name}.npz"
    arrays = _read(entry)
    if arrays is None or not is_fresh(arrays):
        arrays = build()
        write_whole(entry, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    return arrays


def write_whole(path: Path, save: Callable[[BinaryIO], bool | None]) -> bool:
    """Write a file under a temporary name and rename it.

    Args:
        path: The file.
        save: Writes the content; returns False to give up.

    Returns:
        Whether the file is there now; nothing is left behind when it is not.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            if save(file) is False:
                raise _GivenUpError

    try:
        write_atomically(path, write)
    except (ResourceError, _GivenUpError):
        return False
    return True


class _GivenUpError(Exception):
    """Raised while a file is written that is not to be kept."""


def _read(entry: Path) -> Arrays | None:
    try:
        with open(entry, "rb") as file, np.load(file) as stored:  # zip checks each array's sum
            return {name: stored[name] for name in stored.files}
    except _DAMAGE:
        return None


def _real(path: Path) -> bytes:
    return os.fsencode(os.path.realpath(path))
