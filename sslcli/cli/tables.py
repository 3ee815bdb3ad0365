"""Tables for a terminal: names may be folded, numbers never."""

import re
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_FRAME = 3  # cells that a column has beside its content
_NAME = 12  # cells below which a folded name is no longer read
# 0.91, 1,024, 3e-05, 12.5%, nan, [0.90, 0.92], 0.91 +- 0.02: what must stay in one piece
_NUMBER = re.compile(
    r"(?:[-+]?(?:\d[\d.,]*+(?:e[-+]?\d++)?%?|nan|inf)|[\[(\]),+\-\u00b1:\s])*+", re.IGNORECASE
)


def fitted(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> RenderableType:
    """Return a table; if its numbers do not fit beside each other, a block of lines for each row.

    Args:
        title: Stands above it; may be empty.
        columns: Heads.
        rows: Cells.
        width: Of the terminal.
    """
    least = [_least(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    if sum(least) + _FRAME * len(columns) + 1 > width:
        return _stacked(title, columns, rows)
    shown = Table(title=title or None, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        is_number = _are_numbers(row[i] for row in rows)
        shown.add_column(column, overflow="fold", no_wrap=is_number, min_width=least[i])
    for row in rows:
        shown.add_row(*row)
    return shown


def _least(column: str, cells: Sequence[str]) -> int:
    """Return the least width of a column: whole numbers, but names may be folded."""
    longest = max(map(cell_len, [column, *cells]))
    return longest if _are_numbers(cells) else min(longest, max(_NAME, _longest_number(cells)))


def _are_numbers(cells: Iterable[str]) -> bool:
    return all(_NUMBER.fullmatch(cell) for cell in cells)


def _longest_number(cells: Sequence[str]) -> int:
    return max((cell_len(cell) for cell in cells if _NUMBER.fullmatch(cell)), default=0)


def _stacked(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """Return a block for each row: its first cell, then a line for each other cell."""
    head = max(map(cell_len, columns[1:]), default=0)
    lines = [Text(title, style="bold")] if title else []
    for first, *others in rows:
        lines.append(Text(first, style="bold", overflow="fold"))
        lines += [
            Text(f"  {column.ljust(head)}  {cell}", overflow="fold")
            for column, cell in zip(columns[1:], others, strict=True)
        ]
    return Group(*lines)
