"""Draw accuracy against the strength of attacks and corruptions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sslcli.figures.canvas import line_style, panel_grid

Curve = Sequence[tuple[float, float]]
MEAN = "mean"


def accuracy_curves(
    panels: Mapping[str, Mapping[str, Curve]], labels: Mapping[str, str], path: Path
) -> None:
    """Draw one panel a kind of change and one line a classifier or corruption, as a PNG.

    Args:
        panels: By the panel's title, then by the line's name: pairs of strength and accuracy, from
            no change upwards. A line named "mean" is drawn thick and black.
        labels: What the horizontal axis of each panel says.
        path: The file to write.

    Raises:
        ValueError: If there is no panel.
    """
    with panel_grid(len(panels), path, 3.6) as axes:
        for each, (title, lines) in zip(axes, panels.items(), strict=True):
            for i, (name, points) in enumerate(lines.items()):
                look = {"color": "black", "linewidth": 3} if name == MEAN else line_style(i)
                each.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name, **look)
            each.set(title=title, xlabel=labels[title], ylim=(-0.02, 1.02))
            if len(lines) > 1:
                each.legend(fontsize=8)
        axes[0].set_ylabel("top-1")
