"""Data sets of text: sentences, one a row."""

from collections.abc import Sequence

import numpy as np

from sslcli.data.sources.base import Remark, Source, digest
from sslcli.errors import DataError


class Sentences(Source):
    """Lines of text; a data set without pixels.

    Attributes:
        texts: One sentence a row.
    """

    columns = frozenset({"text"})

    def __init__(self, name: str, texts: Sequence[str], remarks: Sequence[Remark] = ()) -> None:
        self.name, self.texts, self._remarks = name, list(texts), list(remarks)
        self.fingerprint = digest("\n".join(texts).encode())

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, row: int) -> bytes:
        """Return one sentence, encoded."""
        return self.texts[row].encode()

    def examine(self, row: int) -> tuple[bytes, str, str]:
        """Return one sentence; it has no mode and no size."""
        return self.read(row), "", ""

    def remarks(self) -> list[Remark]:
        """Return what was odd about the lines."""
        return self._remarks


class Pairs(Sentences):
    """Pairs of sentences with a score each; the first sentence of a pair is its text.

    Args:
        name: Name for people.
        pairs: Both sentences and the score of their similarity, a row each.
        parts: [N] int8, or None.
    """

    columns = frozenset({"text", "pair"})
    scores: np.ndarray

    def __init__(
        self, name: str, pairs: Sequence[tuple[str, str, float]], parts: np.ndarray | None = None
    ) -> None:
        super().__init__(name, [first for first, _, _ in pairs])
        self.others, self.parts = [second for _, second, _ in pairs], parts
        self.scores = np.array([score for *_, score in pairs], dtype=np.float32)
        rest = "\n".join(self.others).encode()
        self.fingerprint = digest(self.fingerprint.encode(), rest, self.scores)

    def read(self, row: int) -> bytes:
        """Return both sentences and the score, by tabs: equal pairs give equal bytes."""
        return f"{self.texts[row]}\t{self.others[row]}\t{self.scores[row]:g}".encode()

    def text(self, row: int) -> str:
        """Return the first sentence of a pair."""
        return self.texts[row]


def caption(data: bytes, where: str) -> str:
    """Return the text of a caption's file.

    Raises:
        DataError: If it is no UTF-8.
    """
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        what = f"the caption is no text in UTF-8 (byte {error.start})"
        raise DataError(what, where, "convert it: iconv -t UTF-8") from error


def partly_captioned(count: int, total: int, where: str) -> list[Remark]:
    """Remark on images without a caption where others have one; nothing when all or none have."""
    if count in (0, total):
        return []
    what = f"{total - count:,} of {total:,} images have no .txt of their name; no text can be used"
    return [Remark("warning", what, where, "give every image a caption, if there shall be any")]
