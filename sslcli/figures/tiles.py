"""Draw images in rows, a caption below each, the first one of a row set apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sslcli.figures.canvas import COLOURS, drawn

_INCH, _BELOW, _APART = 0.95, 0.34, 0.3  # a tile's side; the rest in tiles
_LETTERS = 16  # of a caption's line
_WORD = {None: "#444444", True: COLOURS[0], False: COLOURS[1]}


@dataclass(frozen=True)
class Tile:
    """An image with what stands below it.

    Attributes:
        image: uint8, [H, W, 3].
        lines: At most two; long ones lose their beginning.
        agrees: Colours the lines blue or red; None leaves them grey.
    """

    image: NDArray[np.uint8]
    lines: tuple[str, ...] = ()
    agrees: bool | None = None


def tile_rows(
    rows: Sequence[Sequence[Tile]], path: Path, *, heads: Sequence[str] = (), title: str = ""
) -> None:
    """Write a PNG of rows of images, small ones enlarged without smoothing.

    Args:
        rows: Tiles, the first of each row apart from the others.
        path: The file to write.
        heads: What stands to the left of each row; none by default.
        title: What stands above.

    Raises:
        ValueError: If there is no image.
    """
    columns = max(map(len, rows), default=0)
    if not columns:
        raise ValueError("a figure needs at least one image")
    left = 0.95 if any(heads) else 0.0
    width, height = left + columns + _APART, len(rows) * (1 + _BELOW)
    with drawn(path, (_INCH * width + 0.2, _INCH * height + 0.4)) as figure:
        axes = figure.add_subplot()
        for top, row in enumerate(rows):
            y = top * (1 + _BELOW)
            for place, tile in enumerate(row):
                x = left + place + (_APART if place else 0)
                axes.imshow(tile.image, extent=(x + 0.03, x + 0.97, y + 0.94, y))
                text = "\n".join(map(_short, tile.lines[:2]))
                axes.text(
                    x + 0.5, y + 0.97, text, ha="center", va="top", fontsize=6.5,
                    color=_WORD[tile.agrees], parse_math=False,
                )  # fmt: skip
            if heads:
                axes.text(left - 0.1, y + 0.47, heads[top], ha="right", va="center", fontsize=8)
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.set_title(title, fontsize=9, parse_math=False)
        axes.set_axis_off()


def _short(line: str) -> str:
    return line if len(line) <= _LETTERS else f"...{line[3 - _LETTERS :]}"
