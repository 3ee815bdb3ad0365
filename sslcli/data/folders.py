"""Images in folders: found by one fast scan, whose result is cached."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sslcli.data import images, labels
from sslcli.data.base import Remark
from sslcli.data.files import FileSource, Identity, identities, identity, listing
from sslcli.data.index import Arrays, cached
from sslcli.errors import DataError

Progress = Callable[[int, int], None] | None


class Folder(FileSource):
    """The images below a folder, in the order of their paths.

    Sub-folders are classes when every image lies in one; train, test and val above them are parts.

    Args:
        name: What the user wrote.
        root: The folder.
        progress: Called with (files seen, 0): how many there are is not known before the end.
    """

    def __init__(self, name: str, root: Path, progress: Progress = None) -> None:
        self.name, self.root = name, root
        index = cached(root, lambda arrays: _is_fresh(root, arrays), lambda: _scan(root, progress))
        self.folders = [os.fsdecode(folder) for folder in index["folders"].tolist()]
        self._roots = [os.path.join(root, folder, "") for folder in self.folders]
        self.file_names, self.folder = index["names"], index["folder"]
        self.others = int(index["others"])
        if not len(self.file_names):
            hint = f"image names end in {', '.join(images.SUFFIXES[:6])}, ..."
            raise DataError("the folder holds no images", str(root), hint)
        found = labels.layout(self.folders, self.folder, deep_classes=False)
        self.labels, self.class_names, self.parts = found.labels, found.class_names, found.parts
        self.listing = listing(self, self.folders, self.folder, self.file_names)

    def __len__(self) -> int:
        return len(self.file_names)

    def read(self, row: int) -> bytes:
        """Return the bytes of one file."""
        return images.read_file(self.describe(row), "check the file and its rights")

    def describe(self, row: int) -> str:
        """Return the path of one file."""
        return f"{self._roots[self.folder[row]]}{os.fsdecode(self.file_names[row])}"

    def identities(self) -> np.ndarray:
        """Return the identity of every file: the folders' own times miss edits in place."""
        return identities(map(self.describe, range(len(self))))

    def remarks(self) -> list[Remark]:
        """Return empty folders, and that some files are no images."""
        found = labels.empty_folders(self.folders, self.folder)
        if self.others:
            found.append(Remark("warning", f"{self.others} files are no images", self.name))
        return found


def only_archives(root: Path) -> list[Path]:
    """Return the `.tar` files of a folder that holds neither sub-folders nor images, sorted."""
    with os.scandir(root) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    if any(_is_folder(entry) or entry.name.lower().endswith(images.SUFFIXES) for entry in visible):
        return []
    return sorted(Path(entry.path) for entry in visible if entry.name.lower().endswith(".tar"))


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
    folders, seen, names, folder = (
        list[bytes](),
        list[Identity](),
        list[bytes](),
        list[np.ndarray](),
    )
    others = 0
    for path, found, files, skipped in _walk(root):
        folder.append(np.full(len(files), len(folders), dtype=np.int32))
        folders.append(os.fsencode(path))
        seen.append(found)
        names += files
        others += skipped
        if progress is not None:
            progress(len(names), 0)
    return {
        "folders": np.array(folders, dtype="S"),
        "identities": np.array(seen),
        "names": np.array(names, dtype="S"),
        "folder": np.concatenate(folder),
        "others": np.array(others),
    }


def _walk(root: Path) -> Iterator[tuple[str, Identity, list[bytes], int]]:
    """Yield each folder below root: path, identity, sorted images, number of other files."""
    waiting, seen = [""], set[tuple[int, ...]]()
    while waiting:
        path = waiting.pop()
        try:
            found = identity(root / path)
            with os.scandir(root / path) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            what = f"the folder cannot be read: {error.strerror}"
            raise DataError(what, str(root / path), "check its rights") from error
        if found[:2] in seen:
            continue  # a link back to a folder above it
        seen.add(found[:2])
        inner = {entry.name for entry in visible if _is_folder(entry)}
        waiting += [f"{path}/{name}" if path else name for name in sorted(inner, reverse=True)]
        plain = [entry.name for entry in visible if entry.name not in inner]
        files = sorted(os.fsencode(n) for n in plain if n.lower().endswith(images.SUFFIXES))
        yield path, found, files, len(plain) - len(files)
