"""Data sets in files: stamps identify them for caches, fingerprints on any machine.

A *stamp* holds on one machine and reads no file: it is made of device, inode, size and both change
times, of which users can reset only one. A *fingerprint* is made of the content, so a copy on
another machine has the same one.
"""

import os
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np

from sslcli.data.images.files import WHITE
from sslcli.data.order import holdout_keys
from sslcli.data.sources.base import Source, derived, digest
from sslcli.data.sources.index import FORMAT, cache_folder, write_whole
from sslcli.errors import DataError
from sslcli.listener import Bar

OF_CONTENT = "content:"  # begins a fingerprint; older versions looked at names and sizes only
_ALL_BYTES, _ALL_IMAGES = 2**28, 50_000  # a set up to this is read whole: a second or two
_SAMPLED_IMAGES = 1_024
_TICK_SECONDS = 0.02  # the coarsest clock by which Linux dates changes has 10 ms


Identity = tuple[int, ...]


class FileSource(Source):
    """Images that lie in files.

    Attributes:
        listing: Digest of names, classes, parts and captions: what is known without reading images.
    """

    listing: str
    _made: tuple[str, str] = ("", "")  # the last fingerprint, behind its name in the cache

    @abstractmethod
    def identities(self) -> np.ndarray:
        """Return what `identity` says of every file that holds images, [F, 5] int64."""

    def stamp(self) -> str:
        """Return a digest of listing and identities, as they are now, and of what is white."""
        now = self._stamp(self.identities())
        return now if self.white_point == WHITE else derived(now, str(self.white_point).encode())

    def origins(self) -> np.ndarray:
        """Return device, inode and offset of each image, of which here each has a file."""
        found = self.identities()[:, :2]
        return np.column_stack([found, found.min(axis=1).clip(max=0)])

    def image_sizes(self, identities: np.ndarray) -> np.ndarray:
        """Return the bytes of each image, [N] int64; here each has a file, -1 is a missing one."""
        return np.ascontiguousarray(identities[:, 2])

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Return a digest of the content, remembered in the cache as long as the stamp holds.

        Up to 256 MiB in 50,000 images every byte counts. Of larger sets names, classes and sizes of
        all images count, and every byte of up to 1,024 images chosen by a hash: what changes a few
        others without changing their sizes is not noticed.
        """
        self.make_fingerprint()
        return self._made[1]

    def make_fingerprint(self, progress: Bar | None = None) -> None:
        """Make the fingerprint, unless it was made before of the files as they are."""
        found = self.identities()
        name = digest(FORMAT.encode(), self._stamp(found).encode())
        if self._made[0] == name:
            return
        entry = cache_folder() / "fingerprints" / name
        with suppress(OSError, ValueError):  # it is not there, or damaged
            if (known := entry.read_text("ascii")).startswith(OF_CONTENT):
                self._made = name, known
                return
        sizes = self.image_sizes(found)
        chunks = self._contents(_sample(sizes), progress)
        made = f"{OF_CONTENT}{digest(self.listing.encode(), sizes, *chunks)}"
        write_whole(entry, lambda file: file.write(made.encode()) > 0)
        self._made = name, made

    def _contents(self, rows: np.ndarray, progress: Bar | None) -> Iterator[bytes]:
        for done, row in enumerate(rows.tolist(), start=1):
            yield self._content(row)
            if progress:
                progress(done, len(rows))

    def _stamp(self, identities: np.ndarray) -> str:
        return digest(self.listing.encode(), identities)

    def _content(self, row: int) -> bytes:
        try:
            return self.read(row)
        except DataError:
            return b"unreadable"


def read_whole(source: Source, progress: Bar | None) -> None:
    """Read what a source's fingerprint is made of, so that it is at hand.

    Args:
        source: Any; most have it at hand.
        progress: Called with (images read, images to read) if some must be read.
    """
    while source.base is not None:
        source = source.base
    if isinstance(source, FileSource):
        source.make_fingerprint(progress)


def _sample(sizes: np.ndarray) -> np.ndarray:
    """Return the rows whose bytes count."""
    rows = np.arange(len(sizes))
    if len(sizes) <= _ALL_IMAGES and sizes.sum() <= _ALL_BYTES:
        return rows
    rows = np.argsort(holdout_keys(len(sizes), 0))[:_SAMPLED_IMAGES]
    return rows[np.cumsum(sizes[rows].clip(min=0)) <= max(_ALL_BYTES, sizes[rows[0]])]


def listing(source: Source, folders: Sequence[str], folder: np.ndarray, names: np.ndarray) -> str:
    """Return a digest of what is known of images without reading them: names, classes, parts.

    Args:
        source: Whose classes and parts are known.
        folders: Folder names.
        folder: Position in `folders` of each image, [N] int32.
        names: File name of each image, [N] byte strings.
    """
    nothing = np.arange(0)
    return digest(
        "\n".join([*folders, "", *source.class_names]).encode("utf-8", "surrogateescape"),
        np.ascontiguousarray(folder),
        names.tobytes(),
        np.ascontiguousarray(nothing if source.labels is None else source.labels),
        np.ascontiguousarray(nothing if source.parts is None else source.parts),
    )


def same_data(then: str, now: str) -> bool | None:
    """Tell whether a fingerprint that was kept is of the data that has this one now.

    Returns:
        None when an older version made it from names and sizes instead of the content.
    """
    is_older = now.startswith(OF_CONTENT) and not then.startswith(OF_CONTENT)
    return None if is_older else then == now


def identity(path: str | Path) -> Identity:
    """Return device, inode, size and both change times of a file; -1 for each when it is missing.

    A file that changed within the last tick of the clock could change again without a trace, so
    this waits until the tick is over.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return (-1,) * 5
    if 0 <= time.time() - status.st_ctime < _TICK_SECONDS:
        time.sleep(_TICK_SECONDS)
    changed = status.st_mtime_ns, status.st_ctime_ns
    numbers = status.st_dev, status.st_ino, status.st_size, *changed
    return tuple(number & (2**63 - 1) for number in numbers)  # inodes may have 64 bits


def identities(paths: Iterable[str | Path]) -> np.ndarray:
    """Return the identity of each file, [F, 5] int64."""
    numbers = chain.from_iterable(map(identity, paths))
    return np.fromiter(numbers, dtype=np.int64).reshape(-1, 5)
