"""Take few labels of a source: a share of each class, or those that a file lists by name."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from sslcli.data.order import stratified
from sslcli.data.sources.base import Source, Subset, need_labels
from sslcli.errors import DataError


def labelled_share(source: Source, fraction: float, seed: int) -> Source:
    """Return a share of the rows of every class, at least one of each, chosen by the seed."""
    labels, generator = need_labels(source), np.random.default_rng(seed)
    keys = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        keys[generator.permutation(rows)] = np.arange(len(rows))
    kept = np.flatnonzero(stratified(labels, fraction, keys, divide=False))
    return Subset(source, kept, f"{fraction:.2%} of {source.name}")


def listed(source: Source, file: str) -> Subset:
    """Return the rows that a file lists, one name a line, in the source's own order.

    A line is a file name, as SimCLR's lists of 1 % and 10 % of ImageNet have them, or a path from
    some folder above it. Empty lines are left out, and a name that is repeated counts once.

    Args:
        source: The images.
        file: Path of the list, UTF-8.

    Raises:
        DataError: If the file cannot be read or lists nothing, or a name fits none or several.
    """
    wanted, rows_of = _lines(file), defaultdict[str, list[int]](list)
    described = [source.describe(row).replace("\\", "/") for row in range(len(source))]
    for row, where in enumerate(described):
        rows_of[where.rsplit("/", 1)[-1]].append(row)
    missing, ambiguous, found = list[str](), list[str](), list[int]()
    for name in wanted:
        rows = rows_of.get(name.rsplit("/", 1)[-1], [])
        rows = [row for row in rows if f"/{described[row]}".endswith(f"/{name}")]
        (missing if not rows else ambiguous if len(rows) > 1 else []).append(name)
        found += rows
    if missing:
        hint = "list images of the training part alone; `ssl data check` shows what there is"
        raise DataError(_count(missing, wanted, f"are not among {source.name}"), file, hint)
    if ambiguous:
        hint = "write more of their paths, such as class/name.jpg"
        raise DataError(_count(ambiguous, wanted, "are of several images"), file, hint)
    return Subset(source, np.sort(np.array(found)), f"{len(found)} listed of {source.name}")


def _lines(file: str) -> list[str]:
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        hint = "name a text file with the name of an image a line"
        raise DataError(f"the list of labels cannot be read: {reason}", file, hint) from error
    lines = list(dict.fromkeys(line.strip().replace("\\", "/") for line in text.splitlines()))
    lines = [line.removeprefix("./") for line in lines if line]
    if not lines:
        raise DataError("the list of labels is empty", file, "write the name of an image a line")
    return lines


def _count(names: list[str], wanted: list[str], what: str) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names):,} of {len(wanted):,} listed names {what}: {shown}"
