"""Data sets written as a table: images by path with labels or captions, or plain sentences."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sslcli.data import images, labels
from sslcli.data.base import Remark, Sentences, Source, digest
from sslcli.data.files import FileSource, identities
from sslcli.errors import DataError

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_SEPARATORS = ("\t", ",", ";", "|")
_MAX_BYTES = 2**29  # of text; some kilobytes of gzip may unpack to any size
_TEXT_COLUMNS = ("sentence", "text")


class Table(FileSource):
    """Images named by the `filepath` column, relative to the table's own folder.

    Attributes:
        titles: Caption of each row; empty when there is no `title` column.
    """

    def __init__(self, name: str, path: Path, records: Sequence[Mapping[str, str]]) -> None:
        self.name, self.folder = name, path.parent
        self.files = [record["filepath"] for record in records]
        columns = records[0]
        self.titles = [record["title"] for record in records] if "title" in columns else []
        if "label" in columns:
            self.labels, self.class_names = labels.number([r["label"] for r in records])
        contents = (f"{'|'.join(map(str, record.values()))}\n" for record in records)
        self.listing = digest("".join(contents).encode("utf-8", "surrogateescape"))

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int) -> bytes:
        """Return the bytes of one file."""
        return images.read_file(self.describe(row), f"correct the table {self.name}")

    def describe(self, row: int) -> str:
        """Return the path of one file."""
        return str(self.folder / self.files[row])

    def identities(self) -> np.ndarray:
        """Return the identity of every image's file."""
        return identities(self._paths())

    def remarks(self) -> list[Remark]:
        """Return missing files, files named twice, and empty titles."""
        found = []
        if missing := [path for path in self._paths() if not _is_file(path)]:
            what = f"{len(missing)} of {len(self)} files of the table are missing"
            hint = f"paths are relative to {self.folder}"
            found.append(Remark("error", what, str(missing[0]), hint))
        if repeated := len(self) - len(set(self.files)):
            found.append(Remark("warning", f"{repeated} rows repeat a file", self.name))
        if empty := sum(not title.strip() for title in self.titles):
            found.append(Remark("warning", f"{empty} titles are empty", self.name))
        return found

    def _paths(self) -> Iterable[Path]:
        return (self.folder / file for file in self.files)


def open_table(name: str, path: Path) -> Source:
    """Open a `.csv`, `.tsv` or `.txt`, plain or gzipped: a `Table` of images or `Sentences`.

    Raises:
        DataError: If it is empty, no text in UTF-8, or lacks the columns for either.
    """
    text = _read_text(path)
    if ".txt" in path.suffixes:
        return _sentences(name, text.split("\n"))
    records = _records(text, str(path))
    columns = set(records[0]) if records else set()
    if "filepath" in columns and {"label", "title"} & columns:
        needed = columns & {"filepath", "label"}
        if gaps := [i for i, record in enumerate(records) if not all(map(record.get, needed))]:
            what = f"{len(gaps)} rows lack one of {', '.join(sorted(needed))}"
            raise DataError(what, f"{path}, row {gaps[0] + 1}", "fill the cells or remove the rows")
        return Table(name, path, records)
    if column := next((column for column in _TEXT_COLUMNS if column in columns), None):
        return _sentences(name, [record[column] for record in records])
    what = "the table has no rows" if not records else f"the columns are {', '.join(records[0])}"
    hint = "images need filepath and label or title; sentences need sentence or text"
    raise DataError(what, str(path), hint)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _read_text(path: Path) -> str:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            hint = "split the table"
            raise DataError(f"the table has more than {_MAX_BYTES:,} bytes", str(path), hint)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"the file is no text in UTF-8 (byte {error.start})"
        raise DataError(what, str(path), "convert it: iconv -t UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be read: {error}", str(path)) from error


def _records(text: str, where: str) -> list[dict[str, str]]:
    """Return rows as stripped cells by lower-case column; missing cells are empty."""
    header = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="")
    try:
        return [
            {column.strip().lower(): cell.strip() for column, cell in row.items() if column}
            for row in reader
        ]
    except csv.Error as error:
        raise DataError(f"the table is damaged: {error}", f"{where}:{reader.line_num}") from error


def _sentences(name: str, lines: list[str]) -> Sentences:
    texts = [line.strip() for line in lines]
    if texts and not texts[-1]:
        texts.pop()  # what follows the last line break
    kept = [text for text in texts if text]
    if not kept:
        raise DataError("the file holds no sentences", name, "write one sentence a line")
    remarks = []
    if empty := len(texts) - len(kept):
        remarks.append(Remark("warning", f"{empty} empty lines were passed over", name))
    return Sentences(name, kept, remarks)
