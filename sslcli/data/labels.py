"""Read parts and classes out of the names of folders, the same way for folders and archives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from sslcli.data.base import PART_CODES, Remark

_PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
}

Names = Sequence[str]
Steps = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What the folders of a data set mean; each array has one entry a row.

    Attributes:
        labels: [N] int64; None when the folders are no classes.
        class_names: Name of each class.
        parts: [N] int8 of `PART_CODES`, 0 for neither; None when there are no parts.
    """

    labels: np.ndarray | None
    class_names: tuple[str, ...]
    parts: np.ndarray | None


def layout(folders: Names, folder: np.ndarray, *, deep_classes: bool) -> Layout:
    """Find parts and classes.

    A chain of folders that holds everything is no class; train, test and val at the start of every
    path are parts; what is left names the class. Images without a folder have no labels, nor have
    images at several depths.

    Args:
        folders: Paths within the data set, "" for the top.
        folder: Position in `folders` of each row's folder, [N] integer.
        deep_classes: Let a nested folder's own name be the class, instead of leaving it unlabelled.
    """
    used, position = np.unique(folder, return_inverse=True)
    paths = [steps(folders[i]) for i in used]
    if len(set(paths)) > 1:
        shared = _shared_steps(min(paths), max(paths))  # sorted, the ends differ the earliest
        paths = [path[shared:] for path in paths]
    codes, paths = _split_parts(paths)
    parts = None if codes is None else codes[position]
    depths = {len(path) for path in paths}
    if 0 in depths or (depths != {1} and not deep_classes):
        return Layout(None, (), parts)
    labels, class_names = number([path[-1] for path in paths])
    return Layout(labels[position], class_names, parts)


def steps(path: str) -> Steps:
    """Split a path into names; climbing, absolute and idle steps mean nothing and are dropped."""
    return tuple(step for step in path.split("/") if step not in ("", ".", ".."))


def part_of(name: str) -> str | None:
    """Return train, test or val when a name, such as train-0001.tar, begins with one of theirs."""
    word = re.match(r"[a-z]+", name.lower())
    return _PART_NAMES.get(word[0]) if word else None


def below_part(part: str | None, path: str) -> str:
    """Put a path below a part, which then need not be its own first step too."""
    inside = steps(path)
    if inside and _PART_NAMES.get(inside[0].lower()) == part:
        inside = inside[1:]
    return "/".join((part or "", *inside))


def empty_folders(folders: Names, folder: np.ndarray) -> list[Remark]:
    """Remark on each folder that holds no image, nor do folders within it."""
    used = {folders[i] for i in np.unique(folder)}
    filled = {path[:i] for path in map(steps, used) for i in range(len(path) + 1)}
    empty = [path for path in map(steps, folders) if path not in filled]
    what, hint = "the folder holds no images", "fill it or remove it; it is no class"
    return [Remark("warning", what, "/".join(path), hint) for path in empty]


def number(names: Names) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turn class names into labels, [N] int64, and the sorted names; integers sort by value."""
    unique = set(names)
    by_value = all(re.fullmatch(r"\d{1,18}", name) for name in unique)
    class_names = tuple(sorted(unique, key=int if by_value else None))
    label = {name: i for i, name in enumerate(class_names)}
    return np.array([label[name] for name in names], dtype=np.int64), class_names


def _shared_steps(first: Steps, last: Steps) -> int:
    pairs = zip(first, last, strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _split_parts(paths: list[Steps]) -> tuple[np.ndarray | None, list[Steps]]:
    found = [_PART_NAMES.get(path[0].lower()) if path else None for path in paths]
    if not all(found):
        return None, paths
    rest = [path[1:] for path in paths]
    if len(set(found)) == 1:
        return None, rest  # one part only: all there is
    held_out = "test" if "test" in found else "val"
    codes = {"train": PART_CODES["train"], held_out: PART_CODES["test"]}
    return np.array([codes.get(part or "", 0) for part in found], dtype=np.int8), rest
