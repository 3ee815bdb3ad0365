"""Draw training curves, ROC curves and histograms of scores as PNG files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
Array = NDArray[np.float64]
Roc = tuple[Array, Array]

# Okabe & Ito's colours, apart for the colour-blind too; line styles tell them apart in print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_LABELS = {
    "embedding_std": "embedding std (1 spread, 0 collapsed)",
    "effective_rank": "effective rank",
    "lr": "learning rate",
    "images_per_second": "images / s",
}
_REFERENCES = {"embedding_std": (0.0, 1.0)}
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


def curves(
    runs: Mapping[str, Rows], keys: Sequence[str], path: Path, *, x: str | None = None
) -> None:
    """Draw one panel a metric and one line a run, as a PNG.

    Args:
        runs: Rows of metrics.jsonl under the name that the legend shows.
        keys: Metrics to draw, from left to right; rows without one are passed over.
        path: The file to write; its format follows from its suffix.
        x: "epoch" or "step"; epochs when every run has them.

    Raises:
        ValueError: If there is no run or key, or if a key is in no run.
    """
    if not runs or not keys:
        raise ValueError("curves need at least one run and one metric")
    for key in keys:
        if not any(key in row for rows in runs.values() for row in rows):
            raise ValueError(f"no run has a metric named {key!r}")
    along = x or _common_axis(runs)
    with _drawn(path, (4.6 * len(keys), 3.4)) as figure:
        panels = figure.subplots(1, len(keys), squeeze=False)[0]
        for panel, key in zip(panels, keys, strict=True):
            _panel(panel, runs, key, along)
        if len(runs) > 1:
            lines = panels[0].get_lines()[: len(runs)]
            figure.legend(lines, list(runs), loc="outside upper center", ncols=min(len(runs), 4))


def roc_curves(sets: Mapping[str, Mapping[str, Roc]], path: Path) -> None:
    """Draw one panel an outside set and one line a score.

    Args:
        sets: By the outside set's name, then by the score's name: the shares of the outside and of
            the inside that are accepted, from the strictest threshold to the loosest.
        path: The file to write.
    """
    with _grid(len(sets), path, 3.6) as panels:
        for panel, (name, scores) in zip(panels, sets.items(), strict=True):
            for i, (outside, inside) in enumerate(scores.values()):
                panel.plot(outside, inside, **_line(i), drawstyle="steps-post")
            panel.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, zorder=1)
            panel.set(title=name, xlabel="outside accepted", aspect="equal")
        panels[0].set_ylabel("inside accepted")
        lines, names = panels[0].get_lines()[:-1], list(next(iter(sets.values())))
        assert panels[0].figure
        panels[0].figure.legend(lines, names, loc="outside right upper")


def score_histograms(
    scores: Mapping[str, tuple[Array, Array]], labels: tuple[str, str], path: Path
) -> None:
    """Draw one panel a score, with the shares of inside and outside images over its values.

    A score of long tails is shown between its 0.5 and 99.5 percentiles, the rest at the edges.

    Args:
        scores: Values of the inside and of the outside set under the panel's title.
        labels: What the legend calls the two.
        path: The file to write.
    """
    with _grid(len(scores), path, 2.6) as panels:
        for panel, (name, values) in zip(panels, scores.items(), strict=True):
            pooled = np.concatenate(values)
            low, high = np.percentile(pooled[np.isfinite(pooled)], (0.5, 99.5))
            edges = np.linspace(low, high if high > low else low + 1, 41)
            for i, each in enumerate(values):
                shares = np.full(len(each), 1 / len(each))
                panel.hist(
                    np.clip(each, low, high),
                    edges.tolist(),
                    weights=shares,
                    histtype="stepfilled",
                    color=_COLOURS[i],
                    alpha=0.55,
                    label=labels[i],
                )
            panel.set_title(name)
            panel.tick_params(labelleft=False)
        assert panels[0].figure
        panels[0].figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
        )


@contextmanager
def _drawn(path: Path, size: tuple[float, float]) -> "Iterator[Figure]":
    """Give an empty figure of a size in inches, and write it at the end."""
    # Agg draws without a display; a Figure of one's own leaves pyplot's state alone.
    from matplotlib import rc_context  # noqa: PLC0415  (0.3 s: only when a figure is drawn)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)


@contextmanager
def _grid(count: int, path: Path, height: float) -> "Iterator[list[Axes]]":
    """Give `count` panels in rows of four at most, and write them at the end."""
    if not count:
        raise ValueError("a figure needs at least one panel")
    columns = min(count, 4)
    rows = math.ceil(count / columns)
    with _drawn(path, (3.4 * columns + 0.8, height * rows + 0.4)) as figure:
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for empty in panels[count:]:
            empty.set_axis_off()
        yield panels[:count]


def _line(i: int) -> dict[str, Any]:
    """Return the look of the i-th line; every 28th looks the same."""
    return {"color": _COLOURS[i % len(_COLOURS)], "linestyle": _STYLES[i % len(_STYLES)]}


def _common_axis(runs: Mapping[str, Rows]) -> str:
    everywhere = all(any("epoch" in row for row in rows) for rows in runs.values())
    return "epoch" if everywhere else "step"


def _panel(panel: "Axes", runs: Mapping[str, Rows], key: str, along: str) -> None:
    for i, rows in enumerate(runs.values()):
        points = [(row[along], row[key]) for row in rows if along in row and key in row]
        marker = "o" if len(points) == 1 else ""
        panel.plot(
            [point[0] for point in points],
            [point[1] for point in points],
            **_line(i),
            marker=marker,
        )
    for value in _REFERENCES.get(key, ()):
        panel.axhline(value, color="#999999", linewidth=0.8, zorder=1)
    panel.set_title(_LABELS.get(key, key.replace("_", " ")))
    panel.set_xlabel(along)
    panel.margins(x=0.01)
