"""Draw reliability diagrams: accuracy against confidence."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli.evaluate.calibration.binning import Bins
from sslcli.figures.canvas import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito's colours, apart for the colour-blind too; the hatch tells them apart in print.
_GAP = "#D55E00"
_BAR: dict[str, Any] = {"color": "#0072B2", "alpha": 0.85, "edgecolor": "white", "linewidth": 0.8}


def reliability_diagram(panels: Mapping[str, Bins], path: Path) -> None:
    """Draw one panel a classifier as a PNG: accuracy in each bin above, number of samples below.

    The gap between a bin's accuracy and its mean confidence is hatched; bins without samples stay
    empty. The diagonal is where a calibrated classifier's bars end.

    Args:
        panels: Bins under the title that the panel shows.
        path: The file to write, always a PNG.

    Raises:
        ValueError: If there is no panel.
    """
    if not panels:
        raise ValueError("a reliability diagram needs at least one panel")
    with drawn(path, (4.2 * len(panels), 5.0)) as figure:
        rows = figure.subplots(
            2, len(panels), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1)
        )
        for upper, lower, (title, bins) in zip(rows[0], rows[1], panels.items(), strict=True):
            _draw_accuracy(upper, title, bins)
            _draw_counts(lower, bins)
        rows[0][0].set_ylabel("accuracy")
        rows[1][0].set_ylabel("images")
        handles, labels = rows[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _draw_accuracy(axes: "Axes", title: str, bins: Bins) -> None:
    left, width = bins.lower.numpy(), (bins.upper - bins.lower).numpy()
    accuracy, gap = bins.accuracy.numpy(), bins.gap.numpy()
    axes.bar(left, accuracy, width, align="edge", label="accuracy", **_BAR)
    axes.bar(
        left, -gap, width, bottom=accuracy, align="edge", label="gap to the mean confidence",
        facecolor="none", edgecolor=_GAP, hatch="////", linewidth=1,
    )  # fmt: skip
    axes.plot((0, 1), (0, 1), color="#666666", linestyle="--", linewidth=1, label="calibrated")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    count, error = int(bins.count.sum()), bins.expected_error()
    axes.set_title(f"{title}: ECE {error:.4f}, n = {count:,}")


def _draw_counts(axes: "Axes", bins: Bins) -> None:
    left, width = bins.lower.numpy(), (bins.upper - bins.lower).numpy()
    count = bins.count.numpy()
    axes.bar(left, count, width, align="edge", color="#999999", edgecolor="white", linewidth=0.8)
    axes.set_yscale("log")  # a bin of one image shows beside one of thousands
    axes.set_ylim(bottom=0.5)
    axes.set_xlabel("confidence")
