"""The interface of a data set: rows to decode, labels, a name, a fingerprint."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sslcli.config.section import NOUNS, Column
from sslcli.data.images import files as images
from sslcli.errors import DataError, UsageError

Part = Literal["train", "test"]
PART_CODES = {"train": 1, "test": 2}
NO_LABEL = -1  # of a row that has no class while others have one
_WHERE: dict[Column, str] = {
    "image": "give images to a method of images, or sentences to a method of text",
    "text": "give a text file, a table with a title column, or a .txt beside each image",
    "pair": "give a .csv of two columns, an STS folder, or the built-in phrases",
    "triplet": "give a .csv of three columns: a sentence, its partner, a hard negative",
}


@dataclass(frozen=True)
class Remark:
    """Something odd about a data set that does not keep it from being opened."""

    severity: Literal["error", "warning"]
    what: str
    where: str = ""
    hint: str = ""


class Source(ABC):
    """Samples by row, read one at a time; safe to pickle and to use in forked workers.

    Attributes:
        columns: What every row has: an image, a text, a pair or a triplet of texts.
        name: What the user wrote, with the part behind it where only a part was taken.
        fingerprint: Digest of the content, the same for a copy on another machine.
        labels: Class of each row, [N] int64, or `NO_LABEL`; None when no row has a class.
        class_names: Name of each class.
        white_point: The value of sixteen bits that is white in encoded images.
        has_text: Whether each row has a text, [N] bool, where some have none; None otherwise.
        scores: Similarity of each row's pair, [N] float32, NaN where not judged; None without any.
        parts: Part of each row, [N] int8 of `PART_CODES` or 0; None when there are no parts.
        opened_for: The column that its reader takes, whose noun messages use; None where no reader
            is known yet.
        oddities: What is out of line in how the data is laid out, and what became of it. Every
            command that opens the data says it.
        base: The source that this one shows differently; None for one of its own.
    """

    columns: frozenset[Column] = frozenset({"image"})
    name: str
    fingerprint: str
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    has_text: np.ndarray | None = None
    scores: np.ndarray | None = None
    parts: np.ndarray | None = None
    white_point: int = images.WHITE
    opened_for: Column | None = None
    oddities: tuple[Remark, ...] = ()
    base: "Source | None" = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def read(self, row: int) -> bytes:
        """Return the encoded image or text of one row, raising DataError when it cannot be read."""

    def load(self, row: int) -> np.ndarray:
        """Return one decoded image, uint8 [H, W, 3].

        Raises:
            DataError: If the image is unreadable, or the data has none.
        """
        need(self, "image")
        return images.decode(self.read(row), self.describe(row), self.white_point)

    def text(self, row: int) -> str:
        """Return the sentence or caption of one row; without images it is what `read` gives.

        Raises:
            DataError: If it is unreadable, or the data has none.
        """
        need(self, "text")
        return self.read(row).decode()

    def pair(self, row: int) -> tuple[str, str]:
        """Return the first two sentences of one row, raising DataError when it has one alone."""
        need(self, "pair")
        first, second, *_ = self.sentences(row)
        return first, second

    def sentences(self, row: int) -> tuple[str, ...]:
        """Return all sentences of one row: those of a pair or triplet, or an image's captions."""
        return (self.text(row),)

    def examine(self, row: int) -> tuple[bytes, str, str]:
        """Return content, Pillow's mode and "WIDTHxHEIGHT", raising DataError when unreadable."""
        data, where = self.read(row), self.describe(row)
        height, width, _ = images.decode(data, where, self.white_point).shape
        return data, images.mode(data), f"{width}x{height}"

    def describe(self, row: int) -> str:
        """Return where a row comes from, for people."""
        return f"{self.name}[{row}]"

    def stamp(self) -> str:
        """Return a key for caches that changes with the images; these are in memory."""
        return self.fingerprint

    def origins(self) -> np.ndarray:
        """Return device, inode and offset of each row's bytes, [N, 3] int64; -1 where unknown.

        Rows that share them are one image, whatever links lead to it.
        """
        return np.full((len(self), 3), -1)

    def remarks(self) -> list[Remark]:
        """Return remarks on the files, found without decoding any."""
        return list(self.oddities)


class ArraySource(Source):
    """Images that are decoded already.

    Args:
        name: Name for people.
        pixels: uint8, [N, 3, H, W].
        labels: [N] int64, or None.
        class_names: Name of each class.
        parts: [N] int8, or None.
    """

    def __init__(
        self,
        name: str,
        pixels: np.ndarray,
        labels: np.ndarray | None = None,
        class_names: tuple[str, ...] = (),
        parts: np.ndarray | None = None,
    ) -> None:
        self.name, self.labels, self.class_names, self.parts = name, labels, class_names, parts
        self.pixels = np.ascontiguousarray(pixels)
        self.fingerprint = digest(repr(pixels.shape).encode(), self.pixels)

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, row: int) -> bytes:
        """Return the raw pixels: equal images give equal bytes, as `check` needs."""
        return self.pixels[row].tobytes()

    def load(self, row: int) -> np.ndarray:
        """Return one image, uint8 [H, W, 3]."""
        return self.pixels[row].transpose(1, 2, 0)

    def examine(self, row: int) -> tuple[bytes, str, str]:
        """Return content, mode and size of one image."""
        return self.read(row), "RGB", f"{self.pixels.shape[3]}x{self.pixels.shape[2]}"


class Subset(Source):
    """Some rows of another source, in the order given; rows count anew from 0."""

    base: Source
    rows: np.ndarray

    def __init__(self, base: Source, rows: np.ndarray, name: str) -> None:
        rows = np.asarray(rows, dtype=np.int64)
        self.labels = None if base.labels is None else base.labels[rows]
        if self.labels is not None and len(rows) and (self.labels == NO_LABEL).all():
            self.labels = None
        self.scores = None if base.scores is None else base.scores[rows]
        self.has_text = None if base.has_text is None else base.has_text[rows]
        self.columns = base.columns  # of rows with a text these are more than its base's
        self.class_names = base.class_names  # may differ from those of its own base, as labels may
        if isinstance(base, Subset):
            rows, base = base.rows[rows], base.base
        self.base, self.rows, self.name = base, rows, name
        self.white_point = base.white_point
        self.opened_for = base.opened_for

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Return a digest of the whole source's and the rows."""
        return derived(self.base.fingerprint, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int) -> bytes:
        """Return the encoded image of one row of the subset."""
        return self.base.read(int(self.rows[row]))

    def load(self, row: int) -> np.ndarray:
        """Return one decoded image, uint8 [H, W, 3]."""
        return self.base.load(int(self.rows[row]))

    def text(self, row: int) -> str:
        """Return the sentence or caption of one row of the subset."""
        return self.base.text(int(self.rows[row]))

    def sentences(self, row: int) -> tuple[str, ...]:
        """Return all sentences of one row of the subset."""
        return self.base.sentences(int(self.rows[row]))

    def describe(self, row: int) -> str:
        """Return where a row of the subset comes from."""
        return self.base.describe(int(self.rows[row]))

    def stamp(self) -> str:
        """Return a digest of the whole source's stamp and the rows."""
        return derived(self.base.stamp(), self.rows)

    def origins(self) -> np.ndarray:
        """Return where the bytes of the subset's rows lie."""
        return self.base.origins()[self.rows]


def take_part(source: Source, part: Part | None) -> Source:
    """Return the train or test rows of a source that has parts, or all rows when `part` is None.

    A source without parts is all training data.

    Raises:
        DataError: If the test part is asked of a source that has none.
    """
    if part is None or (source.parts is None and part == "train"):
        return source
    codes = np.zeros(len(source)) if source.parts is None else source.parts
    rows = np.flatnonzero(codes == PART_CODES[part])
    if not len(rows):
        hint = "give held-out data with data.test, or leave the part away to use everything"
        raise DataError(f"the data set has no {part} part", source.name, hint)
    return Subset(source, rows, f"{source.name} ({part})")


def labelled(source: Source) -> Source:
    """Return the rows that have a class; the source itself when all have, or none."""
    if source.labels is None or not (unlabelled := source.labels == NO_LABEL).any():
        return source
    return Subset(source, np.flatnonzero(~unlabelled), f"{source.name} (labelled)")


def derived(print_: str, *facts: bytes | np.ndarray) -> str:
    """Return the fingerprint or stamp of what was made of a source that has this one."""
    kind, colon, _ = print_.rpartition(":")
    return f"{kind}{colon}{digest(print_.encode(), *facts)}"


def digest(*chunks: bytes | np.ndarray) -> str:
    """Return a short hex digest of bytes and contiguous arrays."""
    state = hashlib.blake2b(digest_size=16)
    for chunk in chunks:
        state.update(chunk)  # type: ignore[arg-type]  # arrays are buffers
    return state.hexdigest()


def noun(source: Source, count: int | None = None) -> str:
    """Return the word for `count` rows of a source in messages; without a count for many."""
    column = source.opened_for
    if column not in source.columns:
        column = "image" if "image" in source.columns else min(source.columns)
    return NOUNS[column][count != 1]


def need(source: Source, *columns: Column) -> None:
    """Refuse data that lacks one of the columns.

    Raises:
        DataError: Saying what the data holds, what it lacks, and how to give that.
    """
    for column in columns:
        if column not in source.columns:
            held = " and ".join(NOUNS[each][1] for each in sorted(source.columns))
            what = f"this data set holds {held}, not {NOUNS[column][1]}"
            raise DataError(what, source.name, _WHERE[column])


def need_labels(source: Source) -> np.ndarray:
    """Return the class of each image, [N] int64.

    Raises:
        UsageError: If the data has no labels.
    """
    if source.labels is None:
        hint = "use a folder or archive with one sub-folder a class, or a .csv with a label column"
        raise UsageError("this needs labels, and the data has none", source.name, hint)
    return np.asarray(source.labels)
