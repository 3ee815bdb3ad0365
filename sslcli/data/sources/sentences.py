"""Data sets of text: sentences, one a row."""

from collections.abc import Sequence

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
