"""Unreadable images or texts: which row stands in for one, and when there are too many.

The stand-in is the next readable row, so it depends on the files alone: neither workers, a resume
nor decoding ahead of time change what is seen, and `rows` name the images really used.
"""

from collections.abc import Mapping

import numpy as np

from sslcli.data.sources.base import Source, Subset, noun
from sslcli.errors import DataError

Bad = dict[int, str]


def reason(error: DataError) -> str:
    """Return which row is unreadable and why, in one line."""
    return f"{error.where}: {error.what}"


def stand_ins(n: int, bad: Mapping[int, str]) -> np.ndarray:
    """Return the row to use for each row, [n] int64: itself, or the next readable one."""
    good = np.setdiff1d(np.arange(n), list(bad))
    return good[np.searchsorted(good, np.arange(n)) % len(good)]


def most(source: Source, share: float) -> float:
    """Return how many rows may be unreadable: a share of the whole set, never of a part of it."""
    return share * len(source.base if isinstance(source, Subset) else source)


def refuse_empty(source: Source) -> None:
    """Raise DataError when there is no row at all."""
    if not len(source):
        rows = noun(source)
        hint = f"give other data; for held-out {rows}, set data.holdout or name some with data.test"
        raise DataError(f"there are no {rows} in it", source.name, hint)


def refuse_too_many(source: Source, bad: Mapping[int, str], share: float) -> None:
    """Raise DataError when more than `most`, or all of the rows, are unreadable."""
    if len(bad) > most(source, share) or (bad and len(bad) == len(source)):
        whole = source.base if isinstance(source, Subset) else source
        what = f"{len(bad)} of {len(source)} {noun(source)} are unreadable"
        hint = f"see: ssl data check {whole.name}; data.max_bad_fraction is {share:g}"
        if whole is not source:
            hint += f", of all {len(whole)} {noun(whole)}"
        raise DataError(what, next(iter(bad.values())), hint)
