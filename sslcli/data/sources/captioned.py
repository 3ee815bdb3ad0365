"""Captions in a table that lies beside the images: captions.tsv or captions.csv."""

import io
import os
from collections.abc import Mapping, Sequence

import numpy as np

from sslcli.data.sources.base import Remark, Source, Subset
from sslcli.data.sources.names import printable
from sslcli.data.sources.rows import read_rows
from sslcli.errors import DataError

NAMES = (b"captions.tsv", b"captions.csv")
Titles = tuple[str, ...]  # the captions of one image


def read_captions(data: bytes, where: str) -> dict[str, list[str]]:
    """Return the captions of each image that a table names, by the path in it.

    Args:
        data: The table, with the columns filepath and title; a row a caption.
        where: The file, for errors; a .csv may have quotation marks.

    Raises:
        DataError: If it is no such table, or a row is damaged.
    """
    try:
        lines = io.StringIO(data.decode("utf-8-sig"), newline="").readlines()
    except UnicodeDecodeError as error:
        what = f"the captions are no text in UTF-8 (byte {error.start})"
        raise DataError(what, where, "convert it: iconv -t UTF-8") from error
    columns, rows = read_rows(lines, has_quotes=where.endswith(".csv"))
    if not {"filepath", "title"} <= set(columns):
        what = f"the columns are {', '.join(columns) or 'none'}"
        raise DataError(what, where, "captions need the columns filepath and title")
    path, title = columns.index("filepath"), columns.index("title")
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.fault:
            raise DataError(f"the row {row.fault}", f"{where}:{row.line}", "correct the line")
        if text := row.cells[title].strip():
            found.setdefault(os.path.normpath(row.cells[path].strip()), []).append(text)
    return found


def with_texts(source: Source) -> tuple[Source, tuple[Remark, ...]]:
    """Return the rows that have a text, and a remark on those that are left out.

    It is the source itself where all rows have one, or none has.
    """
    has = source.has_text
    if "text" in source.columns or has is None or not has.any():
        return source, ()
    kept = Subset(source, np.flatnonzero(has), source.name)
    kept.columns, kept.has_text = kept.columns | {"text"}, None
    if has.all():
        return kept, ()
    what = f"{int((~has).sum()):,} of {len(source):,} images have no caption and are left out"
    return kept, (Remark("warning", what, f"the first is {source.describe(int(has.argmin()))}"),)


def uncaptioned(has: np.ndarray, where: str) -> list[Remark]:
    """Remark on images without a caption where others have one; nothing when all or none have."""
    if has.all() or not has.any():
        return []
    what = f"{int((~has).sum()):,} of {len(has):,} images have no caption"
    hint = "give each a .txt, or a row of captions.tsv; methods of texts leave them out"
    return [Remark("warning", what, where, hint)]


def without_image(count: int, first: str) -> tuple[Remark, ...]:
    """Remark on captions whose images are not there."""
    if not count:
        return ()
    return (Remark("warning", f"{count:,} captions have no image", f"the first is {first}"),)


class Captions:
    """The captions of images in folders, by their tables.

    Args:
        tables: By folder, the captions of each path below it.
        paths: Of all images.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, list[str]]], paths: Sequence[str]) -> None:
        known = {
            os.path.normpath(os.path.join(folder, path)): tuple(titles)
            for folder, each in tables.items()
            for path, titles in each.items()
        }
        self.of_rows: list[Titles] = [known.get(os.path.normpath(path), ()) for path in paths]
        self.unused = sorted(known.keys() - {os.path.normpath(path) for path in paths})

    @property
    def has(self) -> np.ndarray:
        """Whether each image has a caption, [N] bool."""
        return np.array([bool(titles) for titles in self.of_rows])

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Remarks on images with captions that are not there."""
        if not self.unused:
            return ()
        what = f"{len(self.unused):,} images with captions are not there"
        return (Remark("warning", what, f"the first is {printable(self.unused[0])}"),)
