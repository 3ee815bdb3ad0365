"""Draw training curves from the rows of metrics.jsonl."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]

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
    # Agg draws without a display; a Figure of one's own leaves pyplot's state alone.
    from matplotlib import rc_context  # noqa: PLC0415  (0.3 s: only when a figure is drawn)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    along = x or _common_axis(runs)
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.6 * len(keys), 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(keys), squeeze=False)[0]
        for panel, key in zip(panels, keys, strict=True):
            _panel(panel, runs, key, along)
        if len(runs) > 1:
            lines = panels[0].get_lines()[: len(runs)]
            figure.legend(lines, list(runs), loc="outside upper center", ncols=min(len(runs), 4))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)


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
            color=_COLOURS[i % len(_COLOURS)],
            linestyle=_STYLES[i % len(_STYLES)],
            marker=marker,
        )
    for value in _REFERENCES.get(key, ()):
        panel.axhline(value, color="#999999", linewidth=0.8, zorder=1)
    panel.set_title(_LABELS.get(key, key.replace("_", " ")))
    panel.set_xlabel(along)
    panel.margins(x=0.01)
