"""Tell which rows of one source are rows of another too."""

import numpy as np

from sslcli.data.sources.base import Source, Subset


def own_rows(source: Source, among: Source) -> np.ndarray:
    """Return which row of another source each row is, [N] int64; -1 for none that is known of.

    Rows are the same when their bytes lie in the same place, or when both sources are of one whole.
    """
    places, asked = (list(map(tuple, each.origins().tolist())) for each in (among, source))
    row_of = {place: row for row, place in enumerate(places) if min(place) >= 0}
    if row_of and any(min(place) >= 0 for place in asked):
        return np.array([row_of.get(place, -1) for place in asked])
    (whole, rows), (other, others) = map(_rows_of_whole, (source, among))
    if whole is not other and whole.fingerprint != other.fingerprint:
        return np.full(len(source), -1)
    found = {row: at for at, row in enumerate(others.tolist())}
    return np.array([found.get(row, -1) for row in rows.tolist()])


def _rows_of_whole(source: Source) -> tuple[Source, np.ndarray]:
    if isinstance(source, Subset):
        return source.base, source.rows
    return source, np.arange(len(source))
