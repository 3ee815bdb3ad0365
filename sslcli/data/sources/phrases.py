"""The built-in phrases: pairs of sentences about two digits, with a graded similarity."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch

from sslcli.data.counter import uniform
from sslcli.data.sources.base import PART_CODES, digest
from sslcli.data.sources.captions import DIGITS, pick
from sslcli.data.sources.sentences import Groups

VERSION = 1  # raise it when a sentence or a score changes: another version is another data set

_PARTS = {"train": 6000, "test": 1500}
_STROKES = (("thick", "bold", "heavy"), ("thin", "fine", "slender"))
_COLOURS = (
    ("red", "crimson", "scarlet"),
    ("green", "jade"),
    ("blue", "navy"),
    ("yellow", "gold"),
    ("black", "dark", "sooty"),
    ("white", "pale", "snowy"),
)
_DIGITS = tuple((name, str(number)) for number, name in enumerate(DIGITS))
_RELATIONS = (
    ("above", "over", "on top of"),
    ("below", "under", "beneath"),
    ("left of", "to the left of"),
    ("right of", "to the right of"),
    ("inside", "within"),
)
_SLOTS = (_STROKES, _COLOURS, _DIGITS, _RELATIONS, _COLOURS, _DIGITS)
_TEMPLATES = (
    "a {0} {1} {2} {3} a {4} {5}",
    "the {0} {1} {2} is {3} the {4} {5}",
    "the digit {2} in {0} {1} strokes, {3} a {4} {5}",
    "{3} the {4} {5} you see the number {2}, {0} and {1}",
    "someone wrote {2} in {1} with a {0} pen, {3} the digit {5}, which is {4}",
)
_STREAM = 221  # of the counter, of which nothing else draws
_NUMBERS = 1 + 6 + 6 + 6 + 7 + 7  # that one pair can take


class Phrases(Groups):
    """Pairs of sentences; the score is the number of slots in which they mean the same.

    A sentence has six slots: stroke, colour and digit, a relation, another colour and digit. A
    meaning has two or three words and a sentence one of five forms, so that sentences may mean the
    same and share no word. How many slots are equal is drawn first, 0 to 6 alike.
    """

    def __init__(self) -> None:
        parts = np.repeat([PART_CODES[name] for name in _PARTS], list(_PARTS.values()))
        pairs = _pairs()
        scores = np.array([score for *_, score in pairs])
        groups = [(first, second) for first, second, _ in pairs]
        super().__init__("phrases", groups, scores=scores, parts=parts.astype(np.int8))
        self.fingerprint = digest(f"phrases/{VERSION}".encode())


@cache
def _pairs() -> tuple[tuple[str, str, float], ...]:
    """Return all pairs; one command may open them several times."""
    rows = torch.arange(sum(_PARTS.values()))
    numbers = uniform(0, 0, rows, 0, _STREAM, _NUMBERS).tolist()
    return tuple(_pair(iter(each)) for each in numbers)


def _pair(numbers: Iterator[float]) -> tuple[str, str, float]:
    """Return two sentences and the number of slots in which they mean the same."""
    equal = pick(range(len(_SLOTS) + 1), next(numbers))
    ranks = [next(numbers) for _ in _SLOTS]
    kept = sorted(range(len(_SLOTS)), key=ranks.__getitem__)[:equal]
    first = [pick(range(len(slot)), next(numbers)) for slot in _SLOTS]
    second = [
        meaning if position in kept else _another(meaning, len(_SLOTS[position]), next(numbers))
        for position, meaning in enumerate(first)
    ]
    return _sentence(first, numbers), _sentence(second, numbers), float(equal)


def _another(meaning: int, count: int, share: float) -> int:
    """Return one of the other meanings that a slot can have."""
    return (meaning + 1 + pick(range(count - 1), share)) % count


def _sentence(meanings: Sequence[int], numbers: Iterator[float]) -> str:
    """Say six meanings in words and a form that are drawn."""
    slots = zip(_SLOTS, meanings, strict=True)
    words = [pick(slot[meaning], next(numbers)) for slot, meaning in slots]
    return pick(_TEMPLATES, next(numbers)).format(*words)
