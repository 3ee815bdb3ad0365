"""Draw what was found: for each caption its nearest images, for each image its nearest captions."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sslcli.figures.canvas import COLOURS, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCH, _WORDS, _LETTERS = 0.95, 2.6, 40  # a tile's side; the width of a column of text, in tiles
_RIGHT, _WRONG, _ASKED = COLOURS[0], COLOURS[1], "#444444"


@dataclass(frozen=True)
class Found:
    """One query with what lies nearest.

    Attributes:
        image: The image that was asked about, or that the caption belongs to, uint8 [H, W, 3].
        caption: The caption that was asked about, or one of the image's own.
        images: The nearest images of the caption, the nearest first.
        captions: The nearest captions of the image, the nearest first.
        images_right: Whether each of those images is a right answer.
        captions_right: Whether each of those captions is.
    """

    image: NDArray[np.uint8]
    caption: str
    images: Sequence[NDArray[np.uint8]]
    captions: Sequence[str]
    images_right: Sequence[bool]
    captions_right: Sequence[bool]


def retrieval_figure(found: Sequence[Found], path: Path, title: str = "") -> None:
    """Write a PNG of a row a query: caption and images found, image and captions found.

    Args:
        found: Queries, at least one.
        path: The file to write.
        title: What stands above.

    Raises:
        ValueError: If there is no query.
    """
    if not found:
        raise ValueError("a figure needs at least one query")
    columns = max(len(each.images) for each in found)
    middle = _WORDS + columns + 0.5
    width, height = middle + 1.1 + _WORDS * 1.5, len(found) * 1.06
    with drawn(path, (_INCH * width + 0.2, _INCH * height + 0.6)) as figure:
        axes = figure.add_subplot()
        for row, each in enumerate(found):
            _row(axes, each, row * 1.06, middle)
        axes.set(xlim=(0, width), ylim=(height, -0.25), aspect="equal")
        heads = ((0, "caption"), (_WORDS, "nearest images"))
        for x, head in (*heads, (middle, "image"), (middle + 1.1, "nearest captions")):
            axes.text(x, -0.08, head, fontsize=8, color=_ASKED)
        axes.set_title(title, fontsize=9, parse_math=False)
        axes.set_axis_off()


def _row(axes: "Axes", each: Found, top: float, middle: float) -> None:
    text = "\n".join(textwrap.wrap(each.caption, _LETTERS)[:4])
    axes.text(0, top + 0.5, text, va="center", fontsize=7, color=_ASKED, parse_math=False)
    for place, (image, right) in enumerate(zip(each.images, each.images_right, strict=True)):
        x = _WORDS + place
        axes.imshow(image, extent=(x + 0.06, x + 0.94, top + 0.94, top + 0.06))
        _frame(axes, x, top, _RIGHT if right else _WRONG)
    axes.imshow(each.image, extent=(middle + 0.06, middle + 0.94, top + 0.94, top + 0.06))
    step = 0.9 / max(1, len(each.captions))
    for place, (line, right) in enumerate(zip(each.captions, each.captions_right, strict=True)):
        axes.text(
            middle + 1.1, top + 0.1 + step * place, textwrap.shorten(line, 58, placeholder="..."),
            va="center", fontsize=6.5, color=_RIGHT if right else _WRONG, parse_math=False,
        )  # fmt: skip


def _frame(axes: "Axes", x: float, top: float, colour: str) -> None:
    sides = ([x + 0.03, x + 0.97, x + 0.97, x + 0.03, x + 0.03],
             [top + 0.03, top + 0.03, top + 0.97, top + 0.97, top + 0.03])  # fmt: skip
    axes.plot(*sides, color=colour, linewidth=1.4)
