"""Walk over the headers of a tar archive, one read of 512 bytes a member.

`tarfile` keeps an object of about 1 kB for each member, too much for a million. Understood here are
POSIX ustar and PAX (POSIX.1-2017, pax: path, linkpath and size) and GNU long names and sizes.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple
from zlib import adler32

from sslcli.data.sources.openfile import OpenFile
from sslcli.errors import DataError

_BLOCK = 512
_LONGEST = 2**20  # bytes of an extended header; real ones have a few hundred
_LONGEST_PATH = 4096  # bytes, as Linux has it; the index gives every name the longest one's room
_LARGEST = 2**62  # bytes; an offset behind it still fits in 64 bits
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"5": "folder",
          b"1": "hard link", b"2": "symbolic link"}  # fmt: skip


class Member(NamedTuple):
    """One entry of an archive; `kind` is file, folder, hard link, symbolic link or other."""

    kind: str
    path: bytes
    offset: int
    size: int
    target: bytes = b""


class Headers:
    """Iterate over the members of an open archive; never reads their content.

    Args:
        file: The open archive.
        name: Its name, for errors.

    Attributes:
        length: Bytes of the archive.
        has_end: Whether the mark of the end was seen; some writers leave none.
    """

    def __init__(self, file: OpenFile, name: str) -> None:
        self.file, self.name, self.length = file, name, file.length
        self.has_end = False

    def __iter__(self) -> Iterator[Member]:
        """Yield members in archive order, raising DataError at the first damage."""
        position, records = 0, dict[bytes, bytes]()
        while header := self._header(position):
            kind, size = header[156:157], _number(header[124:136])
            if b"size" in records and kind not in b"xLgK":
                size = _decimal(records[b"size"])
            if not 0 <= size < _LARGEST:
                raise self._damaged(f"gives a size that is none at byte {position}")
            position += _BLOCK
            if kind == b"x":
                records |= _records(self._extension(position, size))
            elif kind == b"L":
                records[b"path"] = self._extension(position, size).rstrip(b"\0")
            elif kind == b"K":
                records[b"linkpath"] = self._extension(position, size).rstrip(b"\0")
            elif kind != b"g":  # global records say nothing needed here
                yield self._member(header, kind, records, position, size)
                records = {}
            position += -(-size // _BLOCK) * _BLOCK

    def _header(self, position: int) -> bytes | None:
        header = self.file.read(_BLOCK, position)
        if not any(header):
            self.has_end = len(header) == _BLOCK
            return None
        if position == 0 and not _is_sound(header):
            raise self._no_tar(header)
        if not _is_sound(header):
            raise self._damaged(f"is damaged or cut short at byte {position}")
        return header

    def _extension(self, position: int, size: int) -> bytes:
        content = self.file.read(min(size, _LONGEST), position)
        if len(content) < size:
            raise self._damaged(f"is damaged or cut short at byte {position}")
        return content

    def _member(
        self, header: bytes, kind: bytes, records: dict[bytes, bytes], offset: int, size: int
    ) -> Member:
        path = records.get(b"path") or _path(header)
        if len(path) > _LONGEST_PATH:
            raise self._damaged(f"holds a name of {len(path):,} bytes")
        if offset + size > self.length:
            raise self._damaged(f"is cut short within the member {os.fsdecode(path)}")
        if kind == b"S" or any(key.startswith(b"GNU.sparse") for key in records):
            raise self._damaged(f"holds the sparse member {os.fsdecode(path)}")
        is_old_folder = path.endswith(b"/")  # archives older than POSIX have no type for folders
        named = "folder" if is_old_folder else _KINDS.get(kind, "other")
        target = records.get(b"linkpath") or header[157:257].split(b"\0", 1)[0]
        return Member(named, path, offset, size, target)

    def _no_tar(self, header: bytes) -> DataError:
        packed = next((how for magic, how in _COMPRESSED.items() if header.startswith(magic)), None)
        if packed:
            hint = f"unpack it once with {packed} -d; members are read in place by their offset"
            return DataError(f"the archive is compressed with {packed}", self.name, hint)
        return DataError("the file is no tar archive", self.name, "make one with: tar cf")

    def _damaged(self, what: str) -> DataError:
        return DataError(f"the archive {what}", self.name, "download or write it again")


def _is_sound(header: bytes) -> bool:
    """Compare the sum of all bytes, the field of the sum itself counted as spaces.

    The low half of Adler-32 is one plus the sum modulo 65521, ten times faster than `sum`.
    """
    if len(header) < _BLOCK or header[148:149] not in b" 01234567":
        return False
    found = adler32(header[:148] + b" " * 8 + header[156:]) & 0xFFFF
    return found == (1 + _number(header[148:156])) % 65521


def _number(field: bytes) -> int:
    """Read octal text, or the base-256 form that GNU tar has; -1 when it is neither."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip() or b"0"
    return -1 if digits.translate(None, b"01234567") else int(digits, 8)


def _decimal(digits: bytes) -> int:
    """Read a PAX number; -1 when it is none, or has more digits than any file's size."""
    return int(digits) if digits.isdigit() and len(digits) < 20 else -1


def _path(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0]
    # GNU's magic "ustar  " means that other things stand where POSIX has the prefix
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _records(content: bytes) -> dict[bytes, bytes]:
    """Parse PAX records, each "LENGTH KEY=VALUE" and a newline, LENGTH counting all of it."""
    records, start = {}, 0
    while (space := content.find(b" ", start)) >= 0:
        length = content[start:space]
        end = start + max(_decimal(length), len(length) + 1)
        key, _, value = content[start + len(length) + 1 : end - 1].partition(b"=")
        records[key], start = value, end
    return records
