"""The tokenizers that are known by their digests: those of opened runs, and learned ones.

A config names its tokenizer by digest alone, so that it says the same on every machine. The content
is a file of the run; whoever opens the run remembers it here.
"""

from collections.abc import Callable
from pathlib import Path

from sslcli.data.sources.base import Source, digest
from sslcli.data.sources.index import cache_folder
from sslcli.data.text.learned import LearnedTokenizer, learn_pieces, learn_words
from sslcli.errors import CheckpointError
from sslcli.files import write_atomically

FILE = "tokenizer.json"
_LEARN: dict[str, Callable[..., LearnedTokenizer]] = {
    "words": learn_words,
    "wordpiece": learn_pieces,
}
_known: dict[str, LearnedTokenizer] = {}


def remember(tokenizer: LearnedTokenizer) -> str:
    """Make a tokenizer known, and return its digest."""
    _known.setdefault(tokenizer.digest, tokenizer)
    return tokenizer.digest


def recall(digest: str) -> LearnedTokenizer:
    """Return the tokenizer of a digest.

    Raises:
        CheckpointError: If nobody has remembered it.
    """
    if digest not in _known:
        hint = f"copy the run's {FILE} to where its checkpoint lies"
        what = f"the tokenizer that this was trained with is not there ({digest[:12]})"
        raise CheckpointError(what, FILE, hint)
    return _known[digest]


def read(file: Path) -> LearnedTokenizer:
    """Return the tokenizer in a file.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        return LearnedTokenizer(file.read_text("utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        what = f"the tokenizer cannot be read: {error}"
        raise CheckpointError(what, str(file), "copy or make the file again") from error


def remember_of(run: Path) -> None:
    """Make the tokenizer in a run's folder known, if there is one.

    Raises:
        CheckpointError: If it is damaged.
    """
    if (file := run / FILE).is_file():
        remember(read(file))


def keep(digest: str, run: Path) -> None:
    """Write the tokenizer of a digest into a run's folder."""
    text = recall(digest).text
    write_atomically(run / FILE, lambda path: path.write_text(text, "utf-8"))


def learned(kind: str, size: int, source: Source) -> LearnedTokenizer:
    """Return the tokenizer of the texts of a source; one that was learned before is in the cache.

    Args:
        kind: "words" or "wordpiece".
        size: Most numbers for tokens.
        source: Data with texts.
    """
    key = digest(f"{kind}/{size}".encode(), source.fingerprint.encode())
    file = cache_folder() / "tokenizers" / f"{key}.json"
    if file.is_file():
        return read(file)
    made = _LEARN[kind](sentences_of(source), size)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda path: path.write_text(made.text, "utf-8"))
    return made


def sentences_of(source: Source) -> list[str]:
    """Return all sentences of a source, those of pairs and triplets too."""
    return [text for row in range(len(source)) for text in source.sentences(row)]
