"""Tables and figures of `ssl robust-eval`."""

from collections.abc import Iterable
from typing import Any

from sslcli.cli.publish import Publisher
from sslcli.evaluate.robust.corruptions import CORRUPTIONS
from sslcli.evaluate.robust.interval import LEVEL
from sslcli.figures.robustness import MEAN, Curve, accuracy_curves
from sslcli.workflows.robust_result import RobustResult, RobustRow
from sslcli.workflows.trial import CORRUPTED, LEVELS

_AXES = {"linf": ("L-inf", "radius in 1/255"), "l2": ("L2", "radius")}
_HEADS = ("corruption", *(f"severity {level}" for level in LEVELS), "mean")


def publish(publisher: Publisher, result: RobustResult) -> None:
    """Draw the figures, print the tables, keep the record, then hold to the gates."""
    show = publisher.show
    figures = _draw(publisher, result)
    show.note(f"figures: {', '.join(figures) or 'none'}")
    if spoilt := _by_corruption(result):
        show.table("", _HEADS, _corruption_rows(spoilt))
    publisher.publish(
        result.metrics(), columns=("attack", "top1", f"{LEVEL:.0%} interval", "n"),
        rows=_attack_rows(result), intervals=result.intervals(), protocol=result.protocol,
        figures=figures, zero_gradient=result.zero_gradients(),
    )  # fmt: skip


def _attack_rows(result: RobustResult) -> list[tuple[Any, ...]]:
    """Return a row for the clean images and for each attack."""
    return [
        (row.name or "none", row.accuracy, "{:.4f}-{:.4f}".format(*row.interval), result.n)
        for row in result.rows
        if not row.corruption
    ]


def _by_corruption(result: RobustResult) -> dict[str, dict[int | None, float]]:
    """Return accuracies by corruption, then by severity; the key None is their mean."""
    found: dict[str, dict[int | None, float]] = {}
    for row in result.rows:
        if row.corruption:
            found.setdefault(row.corruption, {})[row.severity] = row.accuracy
    return found


def _corruption_rows(spoilt: dict[str, dict[int | None, float]]) -> Iterable[tuple[Any, ...]]:
    """Yield a row for each corruption, and for the mean over those the authors average."""
    averaged = sum(each.name in spoilt and not each.is_extra for each in CORRUPTIONS)
    for name, by_severity in spoilt.items():
        shown = f"mean of {averaged}" if name == CORRUPTED else name
        yield (shown, *(by_severity[level] for level in (*LEVELS, None)))


def _draw(publisher: Publisher, result: RobustResult) -> list[str]:
    """Draw the figures; if one cannot be written, only that figure is missing."""
    spoilt = _corruption_panels(result)
    figures = {
        "robust-attacks.png": (_attack_panels(result), dict(_AXES.values())),
        "robust-corruptions.png": (spoilt, dict.fromkeys(spoilt, "severity")),
    }
    drawn = []
    for name, (panels, labels) in figures.items():
        path = publisher.run.checkpoint.run / "figures" / name
        try:
            if panels:
                accuracy_curves(panels, labels, path)
                drawn.append(str(path))
        except OSError as error:  # such as a checkpoint on a read-only disk
            publisher.show.warn(f"{path}: {error.strerror or error}")
    return drawn


def _attack_panels(result: RobustResult) -> dict[str, dict[str, Curve]]:
    """Return accuracy against the radius: a panel for each norm, a line for each attack."""
    clean = {row.refine: row.accuracy for row in result.rows if not (row.norm or row.corruption)}
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in result.rows:
        if row.norm:
            lines = panels.setdefault(_AXES[row.norm][0], {})
            line = lines.setdefault(_line(row), [(0.0, clean[row.refine])])
            line.append((row.radius, row.accuracy))
    return {title: dict(lines) for title, lines in panels.items()}


def _line(row: RobustRow) -> str:
    """Return the label of an attack's line in a figure."""
    if row.is_autoattack:
        return "AutoAttack"
    return "PGD" if row.refine is None else f"refine-{row.refine}"


def _corruption_panels(result: RobustResult) -> dict[str, dict[str, Curve]]:
    """Return accuracy against the severity: a panel for each kind, a line for each corruption."""
    kinds = {each.name: each.kind for each in CORRUPTIONS}
    curves = {
        name: [(0.0, result.top1), *((float(level), accuracies[level]) for level in LEVELS)]
        for name, accuracies in _by_corruption(result).items()
    }
    mean = curves.pop(CORRUPTED, None)
    panels: dict[str, dict[str, Curve]] = {}
    for name, curve in curves.items():
        panels.setdefault(kinds[name], {})[name] = curve
    if mean:
        for lines in panels.values():
            lines[MEAN] = mean
    return panels
