"""Draw a map of embeddings: a point a row, coloured by class or cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from sslcli.figures.canvas import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARK = 40  # area of a marker in the legend, in square points
IN_LEGEND, ON_MAP = 20, 150  # groups that a legend holds, and that are named on the map
_MARKERS = ("o", "^", "s")
_LONGEST = 24  # letters of a name
_GREY = "#9A9A9A"


def embedding_map(
    coordinates: Float[Tensor, "n 2"],
    groups: Int[Tensor, " n"] | None,
    names: Sequence[str],
    path: Path,
    *,
    title: str = "",
) -> None:
    """Write a PNG of points; up to 20 groups are named in a legend, up to 150 on the map itself.

    Args:
        coordinates: Of each point.
        groups: Number of each point's group, -1 for none, which is drawn in grey; None for no
            groups.
        names: Of the groups.
        path: The file to write.
        title: Stands above.
    """
    points = coordinates.numpy()
    group = np.full(len(points), -1) if groups is None else groups.numpy()
    present = [int(each) for each in np.unique(group) if each >= 0]
    size = float(np.clip(12_000 / len(points), 5, 30))
    with drawn(path, (9.0, 7.0)) as figure:
        axes = figure.add_subplot()
        rest = points[group < 0]
        if len(rest):
            label = "no class" if present else None
            axes.scatter(
                rest[:, 0], rest[:, 1], s=size, color=_GREY, linewidths=0, alpha=0.6, label=label
            )
        for place, each in enumerate(present):
            look = _look(place, len(present))
            own = points[group == each]
            look |= {"s": size, "linewidths": 0, "alpha": 0.75, "label": _short(names[each])}
            axes.scatter(own[:, 0], own[:, 1], **look)
        if 0 < len(present) <= IN_LEGEND:
            _add_legend(figure)
        elif len(present) <= ON_MAP:
            _name_on_map(axes, points, group, [(each, names[each]) for each in present])
        axes.set(xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=9, parse_math=False)
        axes.grid(visible=False)


def _look(place: int, count: int) -> dict[str, Any]:
    """Return colour and marker: apart for few groups, a round of hues for many."""
    from matplotlib import colormaps  # noqa: PLC0415  as in canvas.drawn

    if count <= IN_LEGEND:
        colours = colormaps["tab10" if count <= 10 else "tab20"]
        return {"color": colours(place), "marker": _MARKERS[place % 3]}
    # By the golden ratio, so that names that follow each other differ.
    return {"color": colormaps["hsv"](place * 0.618034 % 1.0), "marker": _MARKERS[place % 3]}


def _add_legend(figure: Any) -> None:
    legend = figure.legend(loc="outside right upper", fontsize=8, handletextpad=0.2)
    for handle in legend.legend_handles:
        handle.set_sizes([_MARK])
    for text in legend.get_texts():
        text.set_parse_math(False)


def _name_on_map(
    axes: "Axes", points: np.ndarray, group: np.ndarray, named: list[tuple[int, str]]
) -> None:
    """Write each group's name at its member nearest to the group's median."""
    from matplotlib import patheffects  # noqa: PLC0415  as in canvas.drawn

    halo = [patheffects.withStroke(linewidth=2, foreground="white", alpha=0.8)]
    for each, name in named:
        own = points[group == each]
        x, y = own[np.square(own - np.median(own, axis=0)).sum(axis=1).argmin()]
        axes.text(
            x, y, _short(name), fontsize=6, ha="center", va="center", path_effects=halo,
            parse_math=False,
        )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."
