"""Unreadable images: which row stands in for one, and when there are too many of them.

The stand-in is the next readable row, so it depends on the files alone: neither workers, a resume
nor decoding ahead of time change what is seen, and `rows` name the images really used.
"""

from collections.abc import Mapping

import numpy as np

from sslcli.data.base import Source
from sslcli.errors import DataError

Bad = dict[int, str]


def reason(error: DataError) -> str:
    """Return which image is unreadable and why, in one line."""
    return f"{error.where}: {error.what}"


def stand_ins(n: int, bad: Mapping[int, str]) -> np.ndarray:
    """Return the row to use for each row, [n] int64: itself, or the next readable one."""
    good = np.setdiff1d(np.arange(n), list(bad))
    return good[np.searchsorted(good, np.arange(n)) % len(good)]


def refuse_too_many(source: Source, bad: Mapping[int, str], share: float) -> None:
    """Raise DataError when more than `share` of the images, or all of them, are unreadable."""
    if len(bad) > share * len(source) or len(bad) == len(source):
        what = f"{len(bad)} of {len(source)} images are unreadable"
        hint = f"see: ssl data check {source.name}; data.max_bad_fraction is {share:g}"
        raise DataError(what, next(iter(bad.values()), source.name), hint)
