"""Read the rows of a table with the line that each starts on, and what is wrong with it."""

import csv
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

_SEPARATORS = ("\t", ",", ";", "|")


class Row(NamedTuple):
    """One row: the number of its first line, its cells, and why it cannot be used."""

    line: int
    cells: list[str]
    fault: str = ""


def read_rows(
    lines: Sequence[str], *, has_quotes: bool, has_head: bool = True
) -> tuple[list[str], list[Row]]:
    """Return the columns, in lower case, and every row that is not blank.

    Of a first line that is damaged there are no columns, and it is the one row.

    The separator is the one that the first line has most of.

    Args:
        lines: With their line ends.
        has_quotes: Whether a cell may stand between quotation marks, which may then hold anything;
            else they are characters as all others.
        has_head: Whether the first line names the columns; if not, it is a row too.
    """
    separator = max(_SEPARATORS, key=lines[0].count) if lines else ""
    parsed = _parsed(lines, separator, has_quotes)
    rows = (row for row in parsed if row.fault or any(map(str.strip, row.cells)))
    head = next(rows, Row(1, []))
    if head.fault:
        return [], [head]
    columns = [name.strip().lower() for name in head.cells]
    counted = [_counted(row, len(columns)) for row in rows]
    return columns, counted if has_head else [head, *counted]


def _counted(row: Row, columns: int) -> Row:
    if row.fault or len(row.cells) == columns:
        return row
    return row._replace(fault=f"has {len(row.cells)} cells, and there are {columns} columns")


def _parsed(lines: Sequence[str], separator: str, has_quotes: bool) -> Iterator[Row]:
    """Yield every row; after a damaged one, go on with the line that follows its first one."""
    start = 0
    while start < len(lines):
        rest = (lines[i] for i in range(start, len(lines)))
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE
        reader = csv.reader(rest, delimiter=separator, quoting=quoting, strict=True)
        begun = start  # lines before the row that is read
        try:
            for cells in reader:
                yield Row(begun + 1, cells)
                begun = start + reader.line_num
            return
        except csv.Error as error:
            yield Row(begun + 1, [], _explained(str(error)))
            start = begun + 1


def _explained(error: str) -> str:
    """Say what is wrong in the words of a person who wrote the table."""
    if "unexpected end" in error:
        return "opens a quotation mark that is never closed"
    if "limit" in error:
        return (
            f"has a cell of over {csv.field_size_limit():,} characters; is a quotation mark open?"
        )
    if "expected after" in error:
        return "goes on after a closing quotation mark"
    return f"is damaged: {error}"
