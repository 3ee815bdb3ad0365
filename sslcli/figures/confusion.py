"""Draw a confusion matrix: what the images of each class were taken for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from torch import Tensor

from sslcli.figures.canvas import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COUNTED, _NAMED = 20, 60  # classes up to which cells show their counts, and axes every name


def confusion_figure(
    counts: Int[Tensor, "classes classes"], names: Sequence[str], path: Path
) -> None:
    """Write a PNG with a row for each class and a column for each class that was given.

    Colour is the share of the row. Small matrices show counts; large ones leave names out.

    Args:
        counts: As `evaluate.metrics.confusion` gives them.
        names: Names of the classes.
        path: The file to write.
    """
    cells = counts.numpy()
    totals = cells.sum(axis=1, keepdims=True)
    shares = cells / np.maximum(totals, 1)
    side = min(3.2 + 0.42 * len(names), 14.0)
    with drawn(path, (side + 0.9, side)) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.grid(visible=False)
        axes.set(xlabel="given class", ylabel="right class")
        _name(axes, names)
        if len(names) <= _COUNTED:
            _count(axes, cells, shares)
        right, total = int(cells.trace()), int(cells.sum())
        axes.set_title(f"top-1 {right / max(total, 1):.4f}, n = {total:,}")
        figure.colorbar(image, ax=axes, label="share of the right class", shrink=0.8)


def _name(axes: "Axes", names: Sequence[str]) -> None:
    if len(names) > _NAMED:
        return  # numbers of classes, as matplotlib spaces them
    short = [name if len(name) <= 20 else f"{name[:19]}\u2026" for name in names]
    axes.set_xticks(range(len(short)), short, rotation=90, fontsize=8)
    axes.set_yticks(range(len(short)), short, fontsize=8)


def _count(axes: "Axes", cells: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(cells):
        if count:
            colour = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=7)
