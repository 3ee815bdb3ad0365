"""Data sets written as a table: images by path with labels or captions, or plain sentences."""

import gzip
import io
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sslcli.config.section import Column
from sslcli.data.images import files as images
from sslcli.data.sources import labels
from sslcli.data.sources.base import Remark, Source, digest
from sslcli.data.sources.captioned import uncaptioned
from sslcli.data.sources.files import FileSource, identities
from sslcli.data.sources.groups import headless_table, passed_over, places_of, sentence_table
from sslcli.data.sources.names import printable
from sslcli.data.sources.rows import Row, read_rows
from sslcli.data.sources.sentences import Sentences
from sslcli.errors import DataError

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_MAX_BYTES = 2**29  # of text; some kilobytes of gzip may unpack to any size
_NAMED = 10  # damaged lines that are named


class Table(FileSource):
    """Images named by the `filepath` column, relative to the table's own folder.

    A `split` column says train or test (or val); rows that say anything else are neither.

    Attributes:
        titles: Captions of each image, which stand in rows of their own; empty when there is no
            `title` column.
    """

    def __init__(self, name: str, path: Path, records: Sequence[Mapping[str, str]]) -> None:
        self.name, self.folder = name, path.parent
        titles = _titles_of(records) if "title" in records[0] else {}
        self._empty = sum(not record["title"] for record in records) if titles else 0
        conflicts = list[str]()
        if titles:  # several of an image stand in rows of their own, and it is one image
            first: dict[str, Mapping[str, str]] = {}
            for record in records:
                kept = first.setdefault(_key(record), record)
                if kept.get("split") != record.get("split"):
                    conflicts.append(_key(record))
            records = list(first.values())
        self.files = [record["filepath"] for record in records]
        columns = records[0]
        self.titles = [titles[_key(record)] for record in records] if titles else []
        has = np.array([bool(each) for each in self.titles])
        if titles and has.all():
            self.columns = frozenset({"image", "text"})
        elif has.any():
            self.has_text = has
        if "label" in columns:
            self.labels, self.class_names = labels.number([r["label"] for r in records])
        if "split" in columns:
            self.parts, is_outside = labels.named_parts([r["split"] for r in records])
            self.oddities = self._outside(np.flatnonzero(is_outside)) + _in_two(conflicts)
        if titles:
            records = [{**r, "title": "\n".join(titles[_key(r)])} for r in records]
        contents = (f"{list(record.values())}\n" for record in records)
        self.listing = digest("".join(contents).encode("utf-8", "surrogateescape"))

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int) -> bytes:
        """Return the bytes of one file."""
        return images.read_file(str(self._path(row)), f"correct the table {self.name}")

    def text(self, row: int) -> str:
        """Return the title of one row, the first if it has several."""
        return self.titles[row][0] if self.titles and self.titles[row] else super().text(row)

    def sentences(self, row: int) -> tuple[str, ...]:
        """Return all titles of one row's image."""
        return self.titles[row] if self.titles else super().sentences(row)

    def describe(self, row: int) -> str:
        """Return the path of one file."""
        return printable(str(self._path(row)))

    def identities(self) -> np.ndarray:
        """Return the identity of every image's file."""
        return identities(self._paths())

    def remarks(self) -> list[Remark]:
        """Return oddities, missing files, files named twice, and empty titles."""
        found = list(self.oddities)
        if missing := [path for path in self._paths() if not _is_file(path)]:
            what = f"{len(missing)} of {len(self)} files of the table are missing"
            hint = f"paths are relative to {self.folder}"
            found.append(Remark("error", what, str(missing[0]), hint))
        if repeated := len(self) - len(set(self.files)):
            found.append(Remark("warning", f"{repeated} rows repeat a file", self.name))
        if self._empty:
            found.append(Remark("warning", f"{self._empty} titles are empty", self.name))
        if self.has_text is not None:
            found += uncaptioned(self.has_text, self.describe(int(self.has_text.argmin())))
        return found

    def _outside(self, rows: np.ndarray) -> tuple[Remark, ...]:
        if not len(rows):
            return ()
        what = f"{len(rows):,} rows are of neither part, as `split` says neither train nor test"
        hint = "write train, test or val" if self.parts is not None else "so there are no parts"
        return (Remark("warning", what, self.describe(int(rows[0])), hint),)

    def _paths(self) -> Iterable[Path]:
        return map(self._path, range(len(self)))

    def _path(self, row: int) -> Path:
        return self.folder / self.files[row]


def _titles_of(records: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the titles of each file, without empty ones."""
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(_key(record), []).append(record["title"])
    return {file: tuple(filter(None, each)) for file, each in found.items()}


def _key(record: Mapping[str, str]) -> str:
    """Return what tells a row's image from others, however its path is spelled."""
    return os.path.normpath(record["filepath"])


def _in_two(files: Sequence[str]) -> tuple[Remark, ...]:
    """Remark on images whose rows name several parts."""
    if not (each := list(dict.fromkeys(files))):
        return ()
    what = f"{len(each):,} images have rows of different parts; the first row's counts"
    return (Remark("warning", what, f"the first is {printable(each[0])}"),)


def open_table(name: str, path: Path, opened_for: Column | None = None) -> Source:
    """Open a `.csv`, `.tsv` or `.txt`, plain or gzipped: a `Table` of images, or sentences.

    A table without a head is one of sentences where these are what it is opened for.

    Raises:
        DataError: If it is empty, no text in UTF-8, or lacks the columns for either; or if a row
            of a table of images is damaged.
    """
    lines = _read_lines(path)
    if ".txt" in path.suffixes:
        return _lines_of_text(name, lines)
    has_quotes = ".tsv" not in path.suffixes
    columns, rows = read_rows(lines, has_quotes=has_quotes)
    if "filepath" in columns and {"label", "title"} & set(columns):
        return Table(name, path, _records(columns, rows, path))
    if places_of(columns):
        return sentence_table(name, columns, rows)
    if columns and opened_for == "text":
        return headless_table(name, read_rows(lines, has_quotes=has_quotes, has_head=False), path)
    what = f"the columns are {', '.join(columns)}" if columns else "the table has no rows"
    if rows and not columns:
        what = f"the first line {rows[0].fault}"
    hint = "images need filepath and label or title; sentences need sentence1 and sentence2"
    raise DataError(what, str(path), hint)


def _lines_of_text(name: str, lines: Sequence[str]) -> Sentences:
    """Return a sentence a line, without the empty ones."""
    kept = [line.strip() for line in lines if line.strip()]
    if not kept:
        raise DataError("the file holds no sentences", name, "write one sentence a line")
    empty = [(at, "is empty") for at, line in enumerate(lines, 1) if not line.strip()]
    return Sentences(name, kept, passed_over(empty, name))


def _records(columns: Sequence[str], rows: Sequence[Row], path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of images as stripped cells by column.

    Raises:
        DataError: If there are none, or one is damaged, naming each by its line.
    """
    if not rows:
        raise DataError("the table has no rows", str(path), "write one image a line")
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise DataError(f"the column {twice[0]} is there twice", f"{path}:1", "remove one of them")
    needed = [column for column in ("filepath", "label") if column in columns]
    faults = [(row.line, fault) for row in rows if (fault := _fault(columns, row, needed))]
    if faults:
        first, what = faults[0]
        hint = "correct the line"
        if len(faults) > 1:
            hint = f"correct it and {len(faults) - 1} more: lines {_listed(faults[1:])}"
        raise DataError(f"the row {what}", f"{path}:{first}", hint)
    pairs = (zip(columns, row.cells, strict=True) for row in rows)
    return [{name: cell.strip() for name, cell in each if name} for each in pairs]


def _fault(columns: Sequence[str], row: Row, needed: Sequence[str]) -> str:
    """Return why a row cannot be used; empty if it can."""
    if row.fault:
        return row.fault
    for column in needed:
        cell = row.cells[columns.index(column)]
        if not cell.strip():
            return f"lacks its {column}"
        if "\n" in cell or "\r" in cell:
            return f"has a line break in its {column}"
    return ""


def _listed(faults: Sequence[tuple[int, str]]) -> str:
    named = ", ".join(str(line) for line, _ in faults[:_NAMED])
    return named if len(faults) <= _NAMED else f"{named}, ..."


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a text with their ends, which are those of any system."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            hint = "split the table"
            raise DataError(f"the table has more than {_MAX_BYTES:,} bytes", str(path), hint)
        return io.StringIO(data.decode("utf-8-sig"), newline="").readlines()
    except UnicodeDecodeError as error:
        what = f"the file is no text in UTF-8 (byte {error.start})"
        raise DataError(what, str(path), "convert it: iconv -t UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be read: {error}", str(path)) from error
