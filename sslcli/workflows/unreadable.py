"""Images or texts that an evaluation could not read: a warning, and a part of its result."""

from typing import TypedDict

import numpy as np
from torch import Tensor

from sslcli.config.data import DataConfig
from sslcli.data.sources.base import Source, noun
from sslcli.data.unreadable import refuse_too_many
from sslcli.listener import Listener

_NAMED = 20  # files that a result names


class Unreadable(TypedDict):
    """The number of a data set's images that were left out, their total, and the first of them."""

    count: int
    of: int
    files: list[str]


def warn_of_unreadable(
    source: Source, rows: Tensor, data: DataConfig, listener: Listener
) -> dict[str, Unreadable]:
    """Warn of the images of a source that are not among `rows`.

    Args:
        source: The data that was to be read.
        rows: Which of its rows were read, [N] int64.
        data: How many may be unreadable.
        listener: Who is warned.

    Returns:
        Their number and the first files, by the source's name; empty if all were read.

    Raises:
        DataError: If they are too many; cached features were not checked for that.
    """
    missing = np.setdiff1d(np.arange(len(source)), rows.cpu().numpy())
    if not len(missing):
        return {}
    files = [source.describe(int(row)) for row in missing[:_NAMED]]
    bad = dict.fromkeys(missing.tolist(), files[0])
    refuse_too_many(source, bad, data.max_bad_fraction)
    count = f"{len(missing):,} of {len(source):,} {noun(source)} of {source.name}"
    more = ", ..." if len(missing) > 3 else ""
    listener.warn(f"{count} are unreadable and left out: {', '.join(files[:3])}{more}")
    return {source.name: Unreadable(count=len(missing), of=len(source), files=files)}
