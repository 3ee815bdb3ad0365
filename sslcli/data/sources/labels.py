"""Read parts and classes out of the names of folders, the same way for folders and archives."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sslcli.data.sources.base import NO_LABEL, PART_CODES, Remark
from sslcli.data.sources.names import printable

_PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
}
_WHOLE = "whole"  # the part that holds everything where there are no parts
_OUTSIDE = ("outside of the parts, and are neither trained nor tested on", "move or remove them")
_LONE = ("beside the only folder, which therefore is no class", "give every class a folder")
_STRAY = ("beside the class folders, and have no label", "move them into a class folder")
_BARE = ("in a part without class folders, and have no label", "give its classes folders as well")
_DEEP = ("in folders within class folders: the outer one is the class", "see: ssl data check")
_NAMED = (
    "in a class that is named like a part",
    "parts are train/ and test/ (or val/), side by side",
)

Names = Sequence[str]
Steps = tuple[str, ...]
Oddity = tuple[tuple[str, str], list[bool]]  # what and hint, and of each folder whether it is odd


class _Place(NamedTuple):
    """The place of a folder: its part, None outside of all parts, and the rest of its path."""

    part: str | None
    path: Steps

    @property
    def name(self) -> str | None:
        """The class of its images, if they have one."""
        return self.path[0] if self.path and self.part else None


@dataclass(frozen=True)
class Layout:
    """The parts and labels that folders give; each array has one entry a row.

    Attributes:
        labels: [N] int64, `NO_LABEL` outside of the class folders; None when no row has a class.
        class_names: Name of each class.
        parts: [N] int8 of `PART_CODES`, 0 for neither; None when there are no parts.
        of_parts: Images outside of the parts.
        of_classes: Images that lie out of line below the parts, and what that means for them.
    """

    labels: np.ndarray | None
    class_names: tuple[str, ...]
    parts: np.ndarray | None
    of_parts: tuple[Remark, ...]
    of_classes: tuple[Remark, ...]


def layout(folders: Names, folder: np.ndarray, describe: Callable[[int], str]) -> Layout:
    """Find parts and classes.

    A chain of folders that holds all others is no class. Folders named train, test and val below it
    are parts when two of them are there, or nothing else is, or only they hold further folders. The
    first folder within a part is the class, however deep its images lie. An image beside the parts
    is in none, and one beside the class folders has no label; all others keep theirs.

    Args:
        folders: Paths within the data set, "" for the top.
        folder: Position in `folders` of each row's folder, [N] integer.
        describe: Names a row.
    """
    used, position = np.unique(folder, return_inverse=True)
    places = _below_chain(_Place(_WHOLE, steps(folders[i])) for i in used)
    places = _below_chain(_in_parts(places))
    codes = _codes(places)
    labels, class_names, oddities = _classes(places)
    outside = [(_OUTSIDE, [not place.part for place in places])]
    return Layout(
        None if labels is None else labels[position],
        class_names,
        None if codes is None else codes[position],
        _remarks(outside, position, describe),
        _remarks(oddities, position, describe),
    )


def _remarks(
    oddities: Iterable[Oddity], position: np.ndarray, describe: Callable[[int], str]
) -> tuple[Remark, ...]:
    """Remark on the rows of folders that are odd, and name the first."""
    remarks = []
    for (what, hint), is_odd in oddities:
        rows = np.flatnonzero(np.array(is_odd)[position])
        if len(rows):
            what = f"{len(rows):,} images lie {what}"
            remarks.append(Remark("warning", what, describe(int(rows[0])), hint))
    return tuple(remarks)


def steps(path: str) -> Steps:
    """Split a path into names; climbing, absolute and idle steps mean nothing and are dropped."""
    return tuple(step for step in path.split("/") if step not in ("", ".", ".."))


def part_of(name: str) -> str | None:
    """Return train, test or val when a name, such as train-0001.tar, begins with one of theirs."""
    word = re.match(r"[a-z]+", name.lower())
    return _PART_NAMES.get(word[0]) if word else None


def named_parts(names: Names) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the part of each row of a table, and which rows name none; None when no row does."""
    found = [_PART_NAMES.get(name.lower()) for name in names]
    codes = _part_codes(found) if any(found) else None
    return codes, np.array([part is None for part in found])


def below_part(part: str, path: str) -> str:
    """Put a path below a part, which then need not be its own first step too."""
    inside = steps(path)
    if inside and _PART_NAMES.get(inside[0].lower()) == part:
        inside = inside[1:]
    return "/".join((part, *inside))


def empty_folders(folders: Names, folder: np.ndarray) -> list[Remark]:
    """Remark on each folder that holds no image, nor do folders within it."""
    used = {folders[i] for i in np.unique(folder)}
    filled = {path[:i] for path in map(steps, used) for i in range(len(path) + 1)}
    empty = [path for path in map(steps, folders) if path not in filled]
    what, hint = "the folder holds no images", "fill it or remove it; it is no class"
    return [Remark("warning", what, printable("/".join(path)), hint) for path in empty]


def number(names: Names) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turn class names into labels, [N] int64, and the sorted names; integers sort by value."""
    unique = set(names)
    by_value = all(re.fullmatch(r"\d{1,18}", name) for name in unique)
    in_order = sorted(unique, key=int if by_value else None)
    label = {name: i for i, name in enumerate(in_order)}
    labels = np.array([label[name] for name in names], dtype=np.int64)
    return labels, tuple(map(printable, in_order))


def _below_chain(found: Iterable[_Place]) -> list[_Place]:
    """Drop the first folder of every part, while each has only one and that holds folders."""
    places = list(found)
    while True:
        firsts = {(place.part, place.name) for place in places if place.name}
        deep = {(place.part, place.name) for place in places if place.name and len(place.path) > 1}
        if not firsts or firsts != deep or len(firsts) > len({part for part, _ in firsts}):
            return places
        places = [place._replace(path=place.path[1:]) if place.part else place for place in places]


def _in_parts(places: list[_Place]) -> list[_Place]:
    """Tell the parts of a data set apart; leave it whole when its folders are none."""
    named = [_PART_NAMES.get(place.path[0].lower()) if place.path else None for place in places]
    pairs = list(zip(places, named, strict=True))
    kinds = {part for part in named if part}
    deep = {bool(part) for place, part in pairs if len(place.path) > 1}
    is_alone = not any(place.path and not part for place, part in pairs)
    if not kinds or not (len(kinds) > 1 or is_alone or deep == {True}):
        return places
    if len(kinds) == 1 and is_alone:  # one part only: all there is
        return [place._replace(path=place.path[1:]) for place in places]
    return [_Place(part, place.path[1:]) for place, part in pairs]


def _codes(places: Sequence[_Place]) -> np.ndarray | None:
    kinds = {place.part for place in places if place.part}
    if kinds == {_WHOLE}:
        return None
    if len(kinds) == 1:  # what lies beside it is no part
        return np.array([PART_CODES["train"] if place.part else 0 for place in places], np.int8)
    return _part_codes([place.part for place in places])


def _part_codes(parts: Sequence[str | None]) -> np.ndarray:
    """Return codes, [N] int8; validation data is held out where there is no test data."""
    held_out = "test" if "test" in parts else "val"
    codes = {held_out: PART_CODES["test"], "train": PART_CODES["train"]}
    return np.array([codes.get(part or "", 0) for part in parts], dtype=np.int8)


def _classes(
    places: Sequence[_Place],
) -> tuple[np.ndarray | None, tuple[str, ...], list[Oddity]]:
    """Return each folder's label, the names, and which folders are odd in what way."""
    names = [place.name for place in places]
    divided = {place.part for place in places if place.name}
    strays = [place.part in divided and not place.path for place in places]
    if not divided:
        return None, (), []
    if any(strays) and len({name for name in names if name}) == 1:
        return None, (), [(_LONE, strays)]
    bare = [bool(place.part) and place.part not in divided for place in places]
    deep = [bool(place.name) and len(place.path) > 1 for place in places]
    like_parts = [(name or "").lower() in _PART_NAMES for name in names]
    oddities = [(_STRAY, strays), (_BARE, bare), (_DEEP, deep), (_NAMED, like_parts)]
    found, class_names = number([name for name in names if name])
    labels = np.full(len(places), NO_LABEL, dtype=np.int64)
    labels[[name is not None for name in names]] = found
    return labels, class_names, oddities
