"""Tables of sentences: one, two or three a row, with a class, or the score of a pair."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sslcli.data.sources import labels
from sslcli.data.sources.base import Remark, Source
from sslcli.data.sources.rows import Row
from sslcli.data.sources.sentences import Groups, Sentences
from sslcli.errors import DataError

# Names of a row's sentences, in order, in tables of SimCSE, of sentence-transformers and of others.
_SENTENCES = (
    ("sentence", "text", "sent0", "sentence1", "sentence_a", "anchor", "premise"),
    ("sent1", "sentence2", "sentence_b", "positive", "hypothesis"),
    ("hard_neg", "negative", "hard_negative"),
)
_SCORES = ("score", "similarity", "relatedness_score")
_CLASSES = ("label", "entailment_judgment")
_NAMED = 10  # damaged lines that are named


def places_of(columns: Sequence[str]) -> list[int]:
    """Return the places of a row's sentences by the names of the columns; none if no name fits."""
    places = []
    for names in _SENTENCES:
        found = next((columns.index(name) for name in names if name in columns), None)
        if found is None:
            break
        places.append(found)
    return places


def sentence_table(name: str, columns: Sequence[str], rows: Sequence[Row]) -> Source:
    """Return the sentences of a table whose columns have names."""
    places = places_of(columns)
    score = _place(columns, _SCORES) if len(places) > 1 else None
    label = _place(columns, _CLASSES)
    return _made(name, rows, places, score, label)


def headless_table(name: str, table: tuple[Sequence[str], Sequence[Row]], path: Path) -> Source:
    """Return the sentences of a table of one, two or three columns without a head."""
    columns, rows = table
    if len(columns) > len(_SENTENCES):
        what = f"a table without a head has one to three sentences a row, not {len(columns)}"
        hint = "name the columns in its first line: sentence1, sentence2 and score, for instance"
        raise DataError(what, f"{path}:1", hint)
    return _made(name, rows, range(len(columns)))


def _place(columns: Sequence[str], names: Sequence[str]) -> int | None:
    return next((columns.index(name) for name in names if name in columns), None)


def _made(
    name: str,
    rows: Sequence[Row],
    places: Sequence[int],
    score: int | None = None,
    label: int | None = None,
) -> Source:
    """Keep the rows that are sound, and say which were not."""
    kept, wrong = [], []
    for row in rows:
        fault = row.fault or _fault(row.cells, places, score)
        if fault:
            wrong.append((row.line, fault))
        else:
            kept.append(row.cells)
    if not kept:
        raise DataError("the file holds no sentences", name, "write one sentence a line")
    groups = [tuple(cells[place].strip() for place in places) for cells in kept]
    remarks = passed_over(wrong, name)
    if len(places) == 1 and label is None:
        return Sentences(name, [text for (text,) in groups], remarks)
    scores = None if score is None else np.array([float(cells[score]) for cells in kept])
    numbers, names = (None, ()) if label is None else labels.number([c[label] for c in kept])
    return Groups(name, groups, scores=scores, labels=numbers, class_names=names, remarks=remarks)


def _fault(cells: Sequence[str], places: Sequence[int], score: int | None) -> str:
    """Say what is wrong with a row of sound cells; nothing when it is sound."""
    if any(not cells[place].strip() for place in places):
        return "is empty" if len(places) == 1 else "has an empty sentence"
    if score is not None and not _is_number(cells[score]):
        return f"has {cells[score][:20]!r} for a score"
    return ""


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def passed_over(wrong: Sequence[tuple[int, str]], name: str) -> list[Remark]:
    """Return a remark on the lines that cannot be used, each with its number and what is wrong."""
    if not wrong:
        return []
    kind = "empty" if all(fault == "is empty" for _, fault in wrong) else "damaged or empty"
    listed = ", ".join(str(line) for line, _ in wrong[:_NAMED])
    listed += ", ..." if len(wrong) > _NAMED else ""
    what = f"{len(wrong)} {kind} lines were passed over: {listed}"
    return [Remark("warning", what, name, f"line {wrong[0][0]} {wrong[0][1]}")]
