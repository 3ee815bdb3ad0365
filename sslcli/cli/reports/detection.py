"""Show what `ssl ood-detect` found: a table, figures, and its line of results."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sslcli.cli.publish import Publisher
from sslcli.data.sources.base import noun
from sslcli.evaluate.ood.bootstrap import LEVEL
from sslcli.evaluate.ood.metrics import METRICS, Ranking
from sslcli.figures.detection import Array, Roc, roc_curves, score_histograms
from sslcli.workflows.ood_result import OODResult
from sslcli.workflows.outside import file_name, open_outside

_COLUMNS = ("outside", "n", "score", "AUROC", f"{LEVEL:.0%} interval", "AUPR-in", "AUPR-out",
            "FPR95-in", "FPR95-out", "settings")  # fmt: skip


def plan(publisher: Publisher, ood: Sequence[str], scores: Sequence[str]) -> None:
    """Say how much would be encoded, for which scores; for `--dry-run`."""
    run = publisher.run
    run.splits.need_held_out()
    images = {"train": len(run.splits.train), "test": len(run.splits.test)}
    images |= {name: len(source) for name, source in open_outside(run, ood).items()}
    publisher.plan(images, scores=scores)


def publish(publisher: Publisher, result: OODResult) -> None:
    """Draw the figures, print the table, keep the record, then hold to the requirements."""
    show, figures = publisher.show, _draw_all(publisher, result)
    rows = noun(publisher.run.splits.test)
    if result.top1 is not None:
        show.note(f"the classifier's top-1 on the inside test {rows} is {result.top1:.4f}")
    show.note(f"figures: {', '.join(figures) or 'none'}")
    show.note(result.protocol)
    publisher.publish(
        result.metrics(),
        columns=_COLUMNS,
        rows=_rows(result),
        why_not=lambda metric: result.unmeasured().get(metric, ""),
        results=result.rows(),
        settings={
            each.score: {**each.values, "tuned_auroc": each.tuned_auroc}
            for each in result.settings
            if each.values
        },
        left_out=result.left_out,
        protocol=result.protocol,
        intervals=result.intervals(),
        calibrator=result.calibrator.facts() if result.calibrator else None,
        figures=figures,
    )


def _rows(result: OODResult) -> list[tuple[Any, ...]]:
    """Return the table: the scores of each set, then their means when sets are many."""
    settings = {each.score: str(each) for each in result.settings}
    rows: list[tuple[Any, ...]] = [
        (row.outside, row.n_outside, row.score, row.auroc,
         "{:.4f}-{:.4f}".format(*row.intervals["auroc"]),
         *(row.values()[metric] for metric in METRICS[1:]), settings[row.score])
        for row in result.measured
    ]  # fmt: skip
    if len(result.values) > 1:
        for score, means in result.means().items():
            first, *rest = (means[metric] for metric in METRICS)
            rows.append(("mean", "", score, first, "", *rest, settings[score]))
    return rows


def _draw_all(publisher: Publisher, result: OODResult) -> list[str]:
    """Draw the histograms of each set and the ROC curves of all; return the paths."""
    folder, figures = publisher.run.checkpoint.run / "figures", list[str]()

    def draw(name: str, figure: Callable[[Path], None]) -> None:
        path = folder / name
        try:
            figure(path)
        except OSError as error:  # such as a checkpoint on a read-only disk
            publisher.show.warn(f"{path}: {error.strerror or error}")
        else:
            figures.append(str(path))

    for name in result.values:
        draw(f"ood-scores-{file_name(name)}.png", partial(_histograms, result, name))
    draw("ood-roc.png", partial(_roc_curves, result))
    return figures


def _histograms(result: OODResult, name: str, path: Path) -> None:
    """Draw the scores of one outside set beside those of the inside."""
    panels = {
        f"{row.score}, AUROC {row.auroc:.3f}": _arrays(*result.values[name][row.score])
        for row in result.measured
        if row.outside == name
    }
    score_histograms(panels, ("inside", name), path)


def _arrays(inside: Tensor, outside: Tensor) -> tuple[Array, Array]:
    return inside.numpy(), outside.numpy()


def _roc_curves(result: OODResult, path: Path) -> None:
    curves = {
        name: {score: _curve(*pair) for score, pair in values.items()}
        for name, values in result.values.items()
    }
    roc_curves(curves, path)


def _curve(inside: Tensor, outside: Tensor) -> Roc:
    """Return the shares of outside and inside accepted, thinned to what a figure can show."""
    own, other = (counts[0] for counts in Ranking(inside, outside).accepted())
    step = max(1, len(own) // 1000)
    ends = [*range(0, len(own) - 1, step), len(own) - 1]
    first, second = (np.append(0.0, counts[ends] / counts[-1]) for counts in (other, own))
    return first, second
