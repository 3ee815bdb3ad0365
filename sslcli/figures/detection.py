"""Draw ROC curves and histograms of scores as PNG files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sslcli.figures.canvas import COLOURS, line_style, panel_grid

Array = NDArray[np.float64]
Roc = tuple[Array, Array]


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
