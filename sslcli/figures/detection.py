"""Draw training curves, ROC curves and histograms of scores as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslcli.figures.canvas import COLOURS, drawn, line_style, panel_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
Array = NDArray[np.float64]
Roc = tuple[Array, Array]

_LABELS = {
    "embedding_std": "embedding std (1 spread, 0 collapsed)",
    "effective_rank": "effective rank",
    "lr": "learning rate",
    "images_per_second": "images / s",
}
_REFERENCES = {"embedding_std": (0.0, 1.0)}


def curves(
    runs: Mapping[str, Rows], keys: Sequence[str], path: Path, *, x: str | None = None
) -> None:
    """Draw one panel a metric and one line a run, as a PNG.

    Args:
        runs: Rows of metrics.jsonl under the name that the legend shows.
        keys: Metrics to draw, from left to right; rows without one are passed over.
        path: The file to write.
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
    with drawn(path, (4.6 * len(keys), 3.4)) as figure:
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
    with panel_grid(len(sets), path, 3.6) as panels:
        for panel, (name, scores) in zip(panels, sets.items(), strict=True):
            for i, (outside, inside) in enumerate(scores.values()):
                panel.plot(outside, inside, **line_style(i), drawstyle="steps-post")
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
    with panel_grid(len(scores), path, 2.6) as panels:
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
                    color=COLOURS[i],
                    alpha=0.55,
                    label=labels[i],
                )
            panel.set_title(name)
            panel.tick_params(labelleft=False)
        assert panels[0].figure
        panels[0].figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
        )


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
            **line_style(i),
            marker=marker,
        )
    for value in _REFERENCES.get(key, ()):
        panel.axhline(value, color="#999999", linewidth=0.8, zorder=1)
    panel.set_title(_LABELS.get(key, key.replace("_", " ")))
    panel.set_xlabel(along)
    panel.margins(x=0.01)
