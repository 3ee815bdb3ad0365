"""The canvas of all figures: a common look, no display, panels in rows."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, apart for the colour-blind too; line styles tell them apart in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":")
_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "font.size": 10,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
}


@contextmanager
def drawn(path: Path, size: tuple[float, float], dpi: int = 150) -> "Iterator[Figure]":
    """Yield an empty figure of a size in inches, and write it as a PNG at the end."""
    # Agg draws without a display; a Figure of one's own leaves pyplot's state alone.
    from matplotlib import rc_context  # noqa: PLC0415  (0.3 s: only when a figure is drawn)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=dpi)


@contextmanager
def panel_grid(count: int, path: Path, height: float) -> "Iterator[list[Axes]]":
    """Yield `count` panels in rows of four at most, and write them at the end."""
    if not count:
        raise ValueError("a figure needs at least one panel")
    columns = min(count, 4)
    rows = math.ceil(count / columns)
    with drawn(path, (3.4 * columns + 0.8, height * rows + 0.4)) as figure:
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for empty in axes[count:]:
            empty.set_axis_off()
        yield axes[:count]


def line_style(i: int) -> dict[str, Any]:
    """Return the look of the i-th line; every 28th looks the same."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": _LINES[i % len(_LINES)]}
