"""Images in folders: found by one fast scan, whose result is cached."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sslcli.data.images import files as images
from sslcli.data.sources import labels
from sslcli.data.sources.base import Remark, derived, digest, need
from sslcli.data.sources.captioned import (
    NAMES,
    Captions,
    read_captions,
    uncaptioned,
    without_image,
)
from sslcli.data.sources.files import FileSource, Identity, identities, identity, listing
from sslcli.data.sources.index import Arrays, cached
from sslcli.data.sources.names import is_hidden, printable
from sslcli.data.sources.sentences import caption
from sslcli.errors import DataError

Progress = Callable[[int, int], None] | None


class Folder(FileSource):
    """The images below a folder, in the order of their paths, through links as well.

    Sub-folders are parts and classes as `labels.layout` says. Where every image has a `.txt` of its
    name beside it, that is its caption; a captions.tsv or .csv may hold several of each.

    Args:
        name: What the user wrote.
        root: The folder.
        progress: Called with (files seen, 0): how many there are is not known before the end.
    """

    def __init__(self, name: str, root: Path, progress: Progress = None) -> None:
        self.name, self.root = name, root
        index = _index(root, progress)
        self.folders = [os.fsdecode(folder) for folder in index["folders"].tolist()]
        self._roots = [os.path.join(root, folder, "") for folder in self.folders]
        self.file_names, self.folder = index["names"], index["folder"]
        self.others, self.orphans = (
            [os.fsdecode(name) for name in index[key].tolist()] for key in ("others", "orphans")
        )
        self.circles = [os.fsdecode(path) for path in index["circles"].tolist()]
        if not len(self.file_names):
            hint = f"image names end in {', '.join(images.SUFFIXES[:6])}, ..."
            raise DataError("the folder holds no images", str(root), hint)
        self._titles = self._read_tables(index["tables"])
        self._has_caption = self._titles.has if self._titles else index["captions"]
        if self._has_caption.all():
            self.columns = frozenset({"image", "text"})
        elif self._has_caption.any():
            self.has_text = self._has_caption
        found = labels.layout(self.folders, self.folder, self.describe)
        self.labels, self.class_names, self.parts = found.labels, found.class_names, found.parts
        self.oddities = found.of_parts + found.of_classes + self._passed_over() + self._useless()
        self.listing = listing(self, self.folders, self.folder, self.file_names)
        if self._titles:
            self.listing = digest(self.listing.encode(), repr(self._titles.of_rows).encode())

    def _read_tables(self, tables: np.ndarray) -> Captions | None:
        """Read the tables of captions in the folders; None without any."""
        found: dict[str, dict[str, list[str]]] = {}
        for written in tables.tolist():
            folder, name = os.path.split(os.fsdecode(written))
            path = os.path.join(self.root, folder, name)
            data = images.read_file(path, "check the file and its rights", "captions")
            for file, titles in read_captions(data, path).items():
                found.setdefault(folder, {}).setdefault(file, []).extend(titles)
        if not found:
            return None
        names = map(os.fsdecode, self.file_names)
        pairs = zip(self.folder.tolist(), names, strict=True)
        return Captions(found, [os.path.join(self.folders[f], name) for f, name in pairs])

    def __len__(self) -> int:
        return len(self.file_names)

    def read(self, row: int) -> bytes:
        """Return the bytes of one file."""
        return images.read_file(self._path(row), "check the file and its rights")

    def text(self, row: int) -> str:
        """Return the caption of one image, the first if it has several."""
        if not self._has_caption[row]:
            need(self, "text")
        if self._titles:
            return self._titles.of_rows[row][0]
        path = self._caption_path(row)
        data = images.read_file(path, "check the file and its rights", "caption")
        return caption(data, printable(path))

    def sentences(self, row: int) -> tuple[str, ...]:
        """Return all captions of one image."""
        return self._titles.of_rows[row] if self._titles else super().sentences(row)

    def describe(self, row: int) -> str:
        """Return the path of one file, printable."""
        return printable(self._path(row))

    def identities(self) -> np.ndarray:
        """Return the identity of every file: the folders' own times miss edits in place."""
        return identities(map(self._path, range(len(self))))

    def stamp(self) -> str:
        """Return a digest of the images as they are now, and of their captions if they have any."""
        if self._titles or not self._has_caption.any():
            return super().stamp()
        texts = map(self._caption_path, np.flatnonzero(self._has_caption).tolist())
        return derived(super().stamp(), identities(texts))

    def remarks(self) -> list[Remark]:
        """Return oddities, empty folders, missing captions, and that some files are no images."""
        found = [*self.oddities, *labels.empty_folders(self.folders, self.folder)]
        without = self.describe(int(self._has_caption.argmin()))
        found += uncaptioned(self._has_caption, without)
        others = self.others + ([] if self._has_caption.any() else self.orphans)
        if others:
            what = f"{len(others)} files are no images"
            found.append(Remark("warning", what, printable(min(others))))
        return found

    def _useless(self) -> tuple[Remark, ...]:
        """Return remarks on captions of no image: rows of a table, or .txt files beside images."""
        if self._titles:
            return self._titles.remarks
        if not self._has_caption.any() or not self.orphans:
            return ()
        return without_image(len(self.orphans), printable(self.orphans[0]))

    def _path(self, row: int) -> str:
        return f"{self._roots[self.folder[row]]}{os.fsdecode(self.file_names[row])}"

    def _caption_path(self, row: int) -> str:
        return os.fsdecode(_caption_name(os.fsencode(self._path(row))))

    def _passed_over(self) -> tuple[Remark, ...]:
        """Return remarks on what may hold images and is not looked into."""
        found = []
        if self.circles:
            what = f"{len(self.circles)} links lead back to a folder above them; passed over"
            found.append(Remark("warning", what, printable(self.circles[0]), "remove the link"))
        if archives := archives_in(self.root):
            what = f"{len(archives)} archives lie beside the folders of images; passed over"
            hint = "name the archives themselves to read them"
            found.append(Remark("warning", what, printable(str(archives[0])), hint))
        return tuple(found)


def archives_in(root: Path) -> list[Path]:
    """Return the `.tar` files directly in a folder, sorted; none when it cannot be read."""
    try:
        names = [name for name in os.listdir(root) if not is_hidden(name)]
    except OSError:
        return []
    return sorted(root / name for name in names if name.lower().endswith(".tar"))


def has_images(root: Path, progress: Progress = None) -> bool:
    """Tell whether a folder or any within it holds images; what was seen is cached."""
    return len(_index(root, progress)["names"]) > 0


def _index(root: Path, progress: Progress) -> Arrays:
    return cached(root, lambda arrays: _is_fresh(root, arrays), lambda: _scan(root, progress))


def _caption_name(name: bytes) -> bytes:
    return os.path.splitext(name)[0] + b".txt"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_fresh(root: Path, index: Arrays) -> bool:
    """Tell whether every folder is still the one that was recorded, unchanged."""
    now = identities(root / os.fsdecode(folder) for folder in index["folders"].tolist())
    return np.array_equal(index["identities"], now)


def _scan(root: Path, progress: Progress) -> Arrays:
    folders, seen, names = list[bytes](), list[Identity](), list[bytes]()
    folder, captions, tables = list[np.ndarray](), list[np.ndarray](), list[bytes]()
    others, orphans, circles = list[bytes](), list[bytes](), list[str]()
    for path, found, files, strange in _walk(root, circles):
        texts = [_caption_name(name) if strange else b"" for name in files]
        captions.append(np.isin(texts, strange))
        folder.append(np.full(len(files), len(folders), dtype=np.int32))
        folders.append(os.fsencode(path))
        seen.append(found)
        names += files
        beside = [name for name in strange if name.lower() in NAMES]
        tables += [os.path.join(os.fsencode(path), name) for name in beside]
        rest = (os.path.join(os.fsencode(path), n) for n in set(strange).difference(texts, beside))
        for name in sorted(rest):
            (orphans if name.lower().endswith(b".txt") else others).append(name)
        if progress is not None:
            progress(len(names), 0)
    return {
        "folders": np.array(folders, dtype="S"),
        "identities": np.array(seen),
        "names": np.array(names, dtype="S"),
        "folder": np.concatenate(folder),
        "captions": np.concatenate(captions),
        "tables": np.array(tables, dtype="S"),
        "others": np.array(others, dtype="S"),
        "orphans": np.array(orphans, dtype="S"),
        "circles": np.array(list(map(os.fsencode, circles)), dtype="S"),
    }


def _walk(
    root: Path, circles: list[str]
) -> Iterator[tuple[str, Identity, list[bytes], list[bytes]]]:
    """Yield each folder below root: path, identity, its images, and its other files, sorted.

    Links are followed, but not to a folder above them: such a path is added to `circles`.
    """
    waiting = [("", frozenset[Identity]())]
    while waiting:
        path, above = waiting.pop()
        try:
            found = identity(root / path)
            with os.scandir(root / path) as entries:
                visible = [entry for entry in entries if not is_hidden(entry.name)]
        except OSError as error:
            what = f"the folder cannot be read: {error.strerror}"
            raise DataError(what, str(root / path), "check its rights") from error
        own = found[:2]
        if own in above:
            circles.append(path)
            continue
        inner = {entry.name for entry in visible if _is_folder(entry)}
        waiting += [(os.path.join(path, name), above | {own}) for name in sorted(inner)[::-1]]
        files, strange = list[bytes](), list[bytes]()
        for name in {entry.name for entry in visible} - inner:
            (files if name.lower().endswith(images.SUFFIXES) else strange).append(os.fsencode(name))
        yield path, found, sorted(files), sorted(strange)
