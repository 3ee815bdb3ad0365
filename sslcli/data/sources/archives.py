"""Images inside tar archives, read in place by their recorded offsets and never extracted."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from sslcli.data.images import files as images
from sslcli.data.sources import labels
from sslcli.data.sources.base import Remark, digest, need
from sslcli.data.sources.captioned import (
    NAMES,
    Captions,
    read_captions,
    uncaptioned,
    without_image,
)
from sslcli.data.sources.files import FileSource, Identity, identities, listing
from sslcli.data.sources.index import Arrays
from sslcli.data.sources.names import printable
from sslcli.data.sources.openfile import OpenFile
from sslcli.data.sources.sentences import caption
from sslcli.data.sources.tarindex import Progress, tar_index
from sslcli.errors import DataError

_ODDITIES = {
    "links": (
        "links lead to nothing in the archive; passed over",
        "write it with tar --dereference --hard-dereference, which stores what they lead to",
    ),
    "others": ("members are no images", ""),
    "endless": ("archives have no mark of their end", "they may be cut short; compare sizes"),
}


class Archives(FileSource):
    """The images of one or more tar archives.

    They mean what a folder would mean that all were unpacked into, as `labels.layout` says; those
    named like parts are unpacked into folders of that name. Where there are `.cls` members, their
    content is the label of the image of the same key; where every image has a `.txt` member, that
    is its caption, or a captions.tsv holds several of each. Names of members are only ever
    compared, so `../` and absolute names do no harm.

    Args:
        name: What the user wrote.
        paths: The archives, in order.
        progress: Called with (bytes indexed, bytes in all).
    """

    def __init__(self, name: str, paths: Sequence[Path], progress: Progress = None) -> None:
        self.name, self.paths = name, tuple(paths)
        shards = [tar_index(path, progress) for path in self.paths]
        counts = [len(shard["names"]) for shard in shards]
        if not sum(counts):
            hint = f"image names end in {', '.join(images.SUFFIXES[:6])}, ..."
            raise DataError("the archive holds no images", name, hint)
        self.shard = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
        self.member_names, self.offsets, self.sizes = (
            np.concatenate([shard[key] for shard in shards])
            for key in ("names", "offsets", "sizes")
        )
        self._captions = np.concatenate([shard["captions"] for shard in shards])  # offset, size
        self.stamps = tuple(tuple(shard["stamp"].tolist()) for shard in shards)
        self.folders, self.folder = _merge_folders(self.paths, shards)
        self.counts = {key: sum(int(s[key]) for s in shards) for key in _ODDITIES}
        self._name_classes(shards)
        self._titles = self._read_tables(shards)
        if self._has_caption.all():
            self.columns = frozenset({"image", "text"})
        elif self._has_caption.any():
            self.has_text = self._has_caption
        self._count_useless(shards)
        self.listing = listing(self, self.folders, self.folder, self.member_names)
        if self._titles:
            self.listing = digest(self.listing.encode(), repr(self._titles.of_rows).encode())

    def _name_classes(self, shards: Sequence[Arrays]) -> None:
        found = labels.layout(self.folders, self.folder, self.describe)
        self.labels, self.class_names, self.parts = found.labels, found.class_names, found.parts
        self.oddities = found.of_parts + found.of_classes
        written = [[os.fsdecode(tag) for tag in shard["tag_names"].tolist()] for shard in shards]
        names, tag = _join(written, [shard["tags"] for shard in shards])
        missing = tag == 0  # "" is the first name of every archive
        if missing.all():
            return
        if missing.any():
            what = f"{missing.sum()} of {len(tag)} images have no .cls member, and the others have"
            raise DataError(what, self.describe(int(missing.argmax())), "add what is missing")
        values, self.class_names = labels.number(names[1:])
        self.labels, self.oddities = values[tag - 1], found.of_parts

    def _read_tables(self, shards: Sequence[Arrays]) -> Captions | None:
        """Read the tables of captions in the archives; None without any."""
        tables: dict[str, dict[str, list[str]]] = {}
        for path, stamp, shard in zip(self.paths, self.stamps, shards, strict=True):
            for folder, offset, size, kind in shard["tables"].tolist():
                name = os.fsdecode(shard["folders"][folder].item())
                where = f"{path}: {name and name + '/'}{NAMES[kind].decode()}"
                data = _opened(path, stamp).read(size, offset)
                for file, titles in read_captions(data, where).items():
                    tables.setdefault(f"{path}\0/{name}", {}).setdefault(file, []).extend(titles)
        if not tables:
            return None
        written = [os.fsdecode(each) for shard in shards for each in _paths_in(shard)]
        archive = (f"{self.paths[shard]}\0/" for shard in self.shard.tolist())
        pairs = zip(archive, written, strict=True)
        return Captions(tables, [f"{first}{path}" for first, path in pairs])

    def _count_useless(self, shards: Sequence[Arrays]) -> None:
        """Count captions of no image: rows of a table, or .txt members beside images."""
        pairs = zip(self.paths, shards, strict=True)
        useless = [f"{path}: {os.fsdecode(n)}" for path, s in pairs for n in s["orphans"].tolist()]
        if self._titles:
            self.oddities += self._titles.remarks
        elif self._has_caption.any():
            self.oddities += without_image(len(useless), printable(min(useless, default="")))
            return
        self.counts["others"] += len(useless)

    @property
    def _has_caption(self) -> np.ndarray:
        return self._titles.has if self._titles else self._captions[:, 0] >= 0

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, row: int) -> bytes:
        """Return the bytes of one member, raising DataError when the archive has become shorter."""
        return self._read(row, int(self.offsets[row]), int(self.sizes[row]))

    def text(self, row: int) -> str:
        """Return the caption of one image, the first if it has several."""
        if not self._has_caption[row]:
            need(self, "text")
        if self._titles:
            return self._titles.of_rows[row][0]
        return caption(self._read(row, *self._captions[row].tolist()), self.describe(row))

    def sentences(self, row: int) -> tuple[str, ...]:
        """Return all captions of one image."""
        return self._titles.of_rows[row] if self._titles else super().sentences(row)

    def _read(self, row: int, offset: int, size: int) -> bytes:
        shard = int(self.shard[row])
        data = _opened(self.paths[shard], self.stamps[shard]).read(size, offset)
        if len(data) < size:
            raise DataError("the archive has changed since it was indexed", self.describe(row))
        return data

    def describe(self, row: int) -> str:
        """Return the archive and the member."""
        folder, name = self.folders[self.folder[row]], os.fsdecode(self.member_names[row])
        return printable(f"{self.paths[self.shard[row]]}: {folder and folder + '/'}{name}")

    def identities(self) -> np.ndarray:
        """Return the identity of each archive."""
        return identities(self.paths)

    def image_sizes(self, identities: np.ndarray) -> np.ndarray:
        """Return the bytes of each member."""
        return self.sizes

    def origins(self) -> np.ndarray:
        """Return the archive's device and inode, and the offset, of each member."""
        return np.column_stack([self.identities()[self.shard, :2], self.offsets])

    def remarks(self) -> list[Remark]:
        """Return oddities, suspicious names, empty classes, and members that were passed over."""
        has_caption = self._has_caption
        without = self.describe(int(has_caption.argmin()))
        found = [*self.oddities, *uncaptioned(has_caption, without)]
        if odd := [f for f in self.folders if f.startswith("/") or ".." in f.split("/")]:
            what = f"{len(odd)} folder names are absolute or climb with ../; they are only names"
            hint = "do not unpack this archive elsewhere"
            found.append(Remark("warning", what, printable(odd[0]), hint))
        for key, (what, hint) in _ODDITIES.items():
            if count := self.counts[key]:
                found.append(Remark("warning", f"{count} {what}", self.name, hint))
        return found + labels.empty_folders(self.folders, self.folder)


@lru_cache(maxsize=128)  # well below the usual limit of open files
def _opened(path: Path, stamp: Identity) -> OpenFile:
    try:
        return OpenFile(path)
    except OSError as error:
        raise DataError(f"the archive cannot be opened: {error.strerror}", str(path)) from error


def _paths_in(shard: Arrays) -> list[bytes]:
    """Return the path of each image within its archive."""
    folders = shard["folders"].tolist()
    pairs = zip(shard["folder"].tolist(), shard["names"].tolist(), strict=True)
    return [folders[folder] + b"/" * bool(folders[folder]) + name for folder, name in pairs]


def _merge_folders(paths: Sequence[Path], shards: Sequence[Arrays]) -> tuple[list[str], np.ndarray]:
    """Join the folders of all archives; where some are named like parts, each has its own folder.

    An archive of no part then lies beside the parts, as a folder of that name would.
    """
    parts = [labels.part_of(path.name) for path in paths]
    has_parts = len({*parts} - {None}) > 1
    lists = []
    for path, part, shard in zip(paths, parts, shards, strict=True):
        written = [os.fsdecode(name) for name in shard["folders"].tolist()]
        above = part or path.stem
        lists.append([labels.below_part(above, name) for name in written] if has_parts else written)
    return _join(lists, [shard["folder"] for shard in shards])


def _join(
    lists: Sequence[Sequence[str]], positions: Sequence[np.ndarray]
) -> tuple[list[str], np.ndarray]:
    """Join lists of names, and the positions in them of each archive's rows."""
    joined: dict[str, int] = {}
    moved = []
    for names, position in zip(lists, positions, strict=True):
        place = np.array([joined.setdefault(n, len(joined)) for n in names], dtype=np.int32)
        moved.append(place[position])
    return list(joined), np.concatenate(moved)
