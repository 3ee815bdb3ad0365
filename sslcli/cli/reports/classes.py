"""Show how well each class is told from the others, and what few labels give."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sslcli.cli.publish import Publisher
from sslcli.cli.show import Show, cell
from sslcli.distributed.collective import is_main
from sslcli.evaluate.metrics import Accuracy
from sslcli.evaluate.seeds import Summary
from sslcli.figures.confusion import confusion_figure
from sslcli.workflows.knn_eval import KNNResult
from sslcli.workflows.linear_eval import LinearResult


def publish(
    publisher: Publisher, result: KNNResult | LinearResult, *, per_class: bool, confusion: bool
) -> None:
    """Draw and print what was asked for, then publish the numbers.

    Args:
        publisher: Knows the run and the streams.
        result: What was measured.
        per_class: Print a table of the classes.
        confusion: Draw the confusion matrix, and put its counts into the record.
    """
    own = told_apart(publisher, result, per_class=per_class, confusion=confusion)
    if result.over_draws:
        own |= _few_shots(result)
    if isinstance(result, LinearResult):
        own |= _rates(result, publisher.show)
        publisher.publish_repeated(result, **own)
    else:
        publisher.publish(result.as_dict(), **own)
    if result.top1_untrained is not None:
        publisher.show.note(in_words(result))


def told_apart(
    publisher: Publisher, result: Accuracy, *, per_class: bool, confusion: bool
) -> dict[str, Any]:
    """Print and draw what was asked for of the classes; return the record's fields about them.

    Args:
        publisher: Knows the run and the streams.
        result: What was measured.
        per_class: Print a table of the classes.
        confusion: Draw the confusion matrix, and return its counts.
    """
    own: dict[str, Any] = {"per_class": result.per_class}
    if per_class:
        publisher.show.table("", ("class", "top1"), list(result.per_class.items()))
    if confusion:
        path = publisher.run.checkpoint.run / "figures" / f"{publisher.show.command}-confusion.png"
        own |= _drawn(result, path)
        publisher.show.note(f"confusion matrix: {path}")
    return own


def in_words(result: KNNResult | LinearResult) -> str:
    """Say what training has added, in a line."""
    baselines = {"before training": result.top1_untrained, "raw pixels": result.top1_pixels}
    others = [f"{name} {share:.1%}" for name, share in baselines.items() if share is not None]
    of = f"of the {result.n:,} test images recognised"
    return "; ".join([f"{result.top1:.1%} {of}", *others])


def _drawn(result: Accuracy, path: Path) -> dict[str, Any]:
    """Draw the matrix and return the fields of the record about it."""
    if is_main():
        confusion_figure(result.confusion, result.classes, path)
    counts = {"classes": list(result.classes), "counts": result.confusion.tolist()}
    return {"confusion": counts, "figures": [str(path)]}


def _rates(result: LinearResult, show: Show) -> dict[str, Any]:
    """Print what each of several rates reached, and return the field of the record about them."""
    if not result.rates:
        return {}
    columns = ("rate", "held-out top1", "test top1")
    show.table("", columns, [(f"{each.rate:g}", each.held_out, each.top1) for each in result.rates])
    return {"rates": [asdict(each) for each in result.rates]}


def _few_shots(result: KNNResult | LinearResult) -> dict[str, Any]:
    """Return the rows of a table that has intervals, and the fields of the record about draws."""
    over, plain = result.over_draws, result.as_dict()
    intervals = {name: summary.interval for name, summary in over.items()}
    rows = [
        (name, value, _between(over.get(name)))
        for name, value in plain.items()
        if not isinstance(value, str | None)
    ]
    return {
        "columns": ("metric", "value", "95 % interval"),
        "rows": rows,
        "intervals": {name: each for name, each in intervals.items() if each},
        "over_draws": {name: asdict(summary) for name, summary in over.items()},
    }


def _between(summary: Summary | None) -> str:
    """Return the interval of a mean over draws; empty for what was measured once."""
    if summary is None or summary.interval is None:
        return ""
    return f"[{', '.join(map(cell, summary.interval))}]"
