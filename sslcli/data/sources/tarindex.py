"""Index one tar archive as a few arrays: about 60 bytes a member, cached between runs."""

import os
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sslcli.data.images import files as images
from sslcli.data.sources.captioned import NAMES
from sslcli.data.sources.files import identity
from sslcli.data.sources.headers import Headers, Member
from sslcli.data.sources.index import Arrays, cached
from sslcli.data.sources.names import is_hidden
from sslcli.data.sources.openfile import OpenFile
from sslcli.data.sources.tarlinks import Links
from sslcli.errors import DataError

Progress = Callable[[int, int], None] | None

_ENDINGS = frozenset(suffix.encode() for suffix in images.SUFFIXES)
_LONGEST_TAG = 256  # bytes of a .cls member that are looked at


def tar_index(path: Path, progress: Progress = None) -> Arrays:
    """Return where the images of an archive lie.

    Args:
        path: The archive.
        progress: Called with (bytes seen, bytes of the archive).

    Returns:
        `folders` [F] and `names` [N], byte strings; `folder` [N] int32; `offsets` and `sizes` [N]
        int64; `captions` [N, 2] int64, offset and size of `.txt` members, -1 without one; `tables`
        [T, 4] int64, folder, offset, size and name (of `captioned.NAMES`) of captions' tables;
        `tags` [N] int32 into `tag_names`, what `.cls` members say, 0 without one; `links` that lead
        to nothing and `others`, members passed over; `endless`, whether the mark of the end is
        missing; `stamp`, the archive's identity. What links lead to comes last.

    Raises:
        DataError: If the file is no plain tar archive, or ends before its last member does.
    """
    try:
        stamp = np.array(identity(path))
        return cached(
            path,
            lambda arrays: np.array_equal(arrays["stamp"], stamp),
            lambda: {**_scan(path, progress), "stamp": stamp},
        )
    except OSError as error:
        raise DataError(f"the archive cannot be read: {error.strerror}", str(path)) from error


def _scan(path: Path, progress: Progress) -> Arrays:
    file = OpenFile(path)
    listing, links, headers = _Listing(file), Links(), Headers(file, str(path))
    for count, member in enumerate(headers):
        (links if member.kind.endswith("link") else listing).add(member)
        if progress is not None and count % 4096 == 0:
            progress(member.offset, headers.length)
    for member in Headers(file, str(path)) if links else ():
        for name in links.names(member.path) if member.kind in ("file", "folder") else ():
            listing.add(member._replace(path=name))
    listing.links = links.lost
    return {**listing.arrays(), "endless": np.array(not headers.has_end)}


class _Listing:
    """The members seen so far in a scan of one archive, in compact arrays.

    Args:
        file: The open archive.
    """

    def __init__(self, file: OpenFile) -> None:
        self.file = file
        self.folders: dict[bytes, int] = {}
        self.names: list[bytes] = []
        self.folder, self.offsets, self.sizes = array("i"), array("q"), array("q")
        self.tag_names: dict[bytes, int] = {b"": 0}
        self.tags: dict[tuple[int, bytes], int] = {}
        self.captions: dict[tuple[int, bytes], tuple[int, int]] = {}
        self.tables: list[tuple[int, int, int, int]] = []
        self.links = self.others = 0

    def add(self, member: Member) -> None:
        """Add a file or folder."""
        parent, _, name = member.path.rpartition(b"/")
        if member.kind == "folder":
            self._folder(member.path.rstrip(b"/"))
            return
        folder, ending = self._folder(parent), name[name.rfind(b".") :].lower()
        is_seen = member.kind == "file" and folder >= 0 and not name.startswith(b".")
        if is_seen and ending == b".cls":
            tag = self.file.read(min(member.size, _LONGEST_TAG), member.offset).strip()
            number = self.tag_names.setdefault(tag, len(self.tag_names))
            self.tags[folder, _key(name)] = number
        elif is_seen and name.lower() in NAMES:
            kind = NAMES.index(name.lower())
            self.tables.append((folder, member.offset, member.size, kind))
        elif is_seen and ending == b".txt":
            self.captions[folder, _key(name)] = member.offset, member.size
        elif is_seen and ending in _ENDINGS:
            self.names.append(name)
            self.folder.append(folder)
            self.offsets.append(member.offset)
            self.sizes.append(member.size)
        else:
            self.others += 1

    def _folder(self, path: bytes) -> int:
        """Return the number of a folder; -1 for one that is hidden, or lies in such a one."""
        if path not in self.folders:
            if any(map(is_hidden, os.fsdecode(path).split("/"))):
                return -1
            self.folders[path] = len(self.folders)
        return self.folders[path]

    def arrays(self) -> Arrays:
        keys = list(zip(self.folder, map(_key, self.names), strict=True))
        captions = [self.captions.get(key, (-1, -1)) for key in keys]
        useless = sorted(self.captions.keys() - set(keys)) if self.captions else []
        folders = list(self.folders)
        orphans = [folders[at] + b"/" * bool(folders[at]) + name + b".txt" for at, name in useless]
        return {
            "folders": np.array(folders, dtype="S"),
            "names": np.array(self.names, dtype="S"),
            "folder": np.array(self.folder, dtype=np.int32),
            "offsets": np.array(self.offsets, dtype=np.int64),
            "sizes": np.array(self.sizes, dtype=np.int64),
            "captions": np.array(captions, dtype=np.int64).reshape(-1, 2),
            "tables": np.array(self.tables, dtype=np.int64).reshape(-1, 4),
            "tags": np.array([self.tags.get(key, 0) for key in keys], dtype=np.int32),
            "tag_names": np.array(list(self.tag_names), dtype="S"),
            "links": np.array(self.links),
            "others": np.array(self.others),
            "orphans": np.array(orphans, dtype="S"),
        }


def _key(name: bytes) -> bytes:
    """Return the key that a WebDataset sample's members share: the name up to its first dot."""
    return name.partition(b".")[0]
