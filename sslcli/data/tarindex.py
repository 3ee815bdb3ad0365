"""Index one tar archive as a few arrays: about 60 bytes a member, cached between runs."""

import os
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sslcli.data import images
from sslcli.data.files import identity
from sslcli.data.headers import Headers, Member
from sslcli.data.index import Arrays, cached
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
        int64; `tags` [N] int32 into `tag_names`, what `.cls` members say, 0 without one; `links`
        and `others`, members passed over; `endless`, whether the mark of the end is missing;
        `stamp`, the archive's identity.

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
    file = os.open(path, os.O_RDONLY)
    try:
        listing, headers = _Listing(), Headers(file, str(path))
        for count, member in enumerate(headers):
            listing.add(member, lambda size, offset: os.pread(file, size, offset))
            if progress is not None and count % 4096 == 0:
                progress(member.offset, headers.length)
    finally:
        os.close(file)
    return {**listing.arrays(), "endless": np.array(not headers.has_end)}


class _Listing:
    """What has been seen of one archive while it is scanned, in arrays that stay small."""

    def __init__(self) -> None:
        self.folders: dict[bytes, int] = {}
        self.names: list[bytes] = []
        self.folder, self.offsets, self.sizes = array("i"), array("q"), array("q")
        self.tag_names: dict[bytes, int] = {b"": 0}
        self.tags: dict[tuple[int, bytes], int] = {}
        self.links = self.others = 0

    def add(self, member: Member, content: Callable[[int, int], bytes]) -> None:
        kind, path, offset, size = member
        parent, _, name = path.rpartition(b"/")
        if kind == "folder":
            self.folders.setdefault(path.rstrip(b"/"), len(self.folders))
            return
        folder = self.folders.setdefault(parent, len(self.folders))
        ending = name[name.rfind(b".") :].lower()
        if kind != "file":
            self.links += 1
        elif ending == b".cls":
            tag = content(min(size, _LONGEST_TAG), offset).strip()
            number = self.tag_names.setdefault(tag, len(self.tag_names))
            self.tags[folder, _key(name)] = number
        elif ending in _ENDINGS and not name.startswith(b"."):
            self.names.append(name)
            self.folder.append(folder)
            self.offsets.append(offset)
            self.sizes.append(size)
        else:
            self.others += 1

    def arrays(self) -> Arrays:
        keys = zip(self.folder, map(_key, self.names), strict=True)
        tags = [self.tags.get(key, 0) for key in keys] if self.tags else [0] * len(self.names)
        return {
            "folders": np.array(list(self.folders), dtype="S"),
            "names": np.array(self.names, dtype="S"),
            "folder": np.array(self.folder, dtype=np.int32),
            "offsets": np.array(self.offsets, dtype=np.int64),
            "sizes": np.array(self.sizes, dtype=np.int64),
            "tags": np.array(tags, dtype=np.int32),
            "tag_names": np.array(list(self.tag_names), dtype="S"),
            "links": np.array(self.links),
            "others": np.array(self.others),
        }


def _key(name: bytes) -> bytes:
    """Return what a WebDataset sample's members share: the name up to its first dot."""
    return name.partition(b".")[0]
