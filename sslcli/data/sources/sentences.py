"""Data sets of text: sentences, one a row."""

from collections.abc import Sequence

import numpy as np

from sslcli.config.section import Column
from sslcli.data.sources.base import Remark, Source, digest
from sslcli.errors import DataError


class Sentences(Source):
    """Lines of text; a data set without pixels.

    Attributes:
        texts: One sentence a row.
    """

    columns = frozenset({"text"})

    def __init__(self, name: str, texts: Sequence[str], remarks: Sequence[Remark] = ()) -> None:
        self.name, self.texts, self.oddities = name, list(texts), tuple(remarks)
        self.fingerprint = digest("\n".join(texts).encode())

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, row: int) -> bytes:
        """Return one sentence, encoded."""
        return self.texts[row].encode()

    def examine(self, row: int) -> tuple[bytes, str, str]:
        """Return one sentence; it has no mode and no size."""
        return self.read(row), "", ""


class Groups(Sentences):
    """Rows of sentences with more about them; the first one of a row is its text.

    Args:
        name: Name for people.
        groups: A sentence, a pair, or a triplet of a sentence, its partner and a hard negative, a
            row each.
        scores: Similarity of the first two, [N]; None where nobody has judged it.
        labels: Class of each row, such as whether the second sentence follows, [N] int64, or None.
        class_names: Name of each class.
        parts: [N] int8, or None.
        remarks: What was odd about the lines.
    """

    def __init__(
        self,
        name: str,
        groups: Sequence[tuple[str, ...]],
        *,
        scores: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        class_names: tuple[str, ...] = (),
        parts: np.ndarray | None = None,
        remarks: Sequence[Remark] = (),
    ) -> None:
        super().__init__(name, [first for first, *_ in groups], remarks)
        self.others, self.parts = [others for _, *others in groups], parts
        self.labels, self.class_names = labels, class_names
        self.scores = None if scores is None else scores.astype(np.float32)
        kinds: list[Column] = ["text", "pair", "triplet"]
        self.columns = frozenset(kinds[: len(groups[0])])
        rest = "\n".join("\t".join(each) for each in self.others).encode()
        known = [each for each in (self.scores, labels) if each is not None]
        self.fingerprint = digest(self.fingerprint.encode(), rest, *known)

    def read(self, row: int) -> bytes:
        """Return all of a row, by tabs: equal rows give equal bytes."""
        score = [] if self.scores is None else [f"{self.scores[row]:g}"]
        return "\t".join([*self.sentences(row), *score]).encode()

    def text(self, row: int) -> str:
        """Return the first sentence of a row."""
        return self.texts[row]

    def sentences(self, row: int) -> tuple[str, ...]:
        """Return all sentences of a row."""
        return self.texts[row], *self.others[row]


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
