"""Show what `ssl calibrate` found: a table, a reliability diagram, and its line of results."""

from dataclasses import asdict
from typing import Any

from sslcli.cli.publish import Publisher
from sslcli.errors import ResourceError
from sslcli.figures.reliability import reliability_diagram
from sslcli.files import write_atomically
from sslcli.workflows.calibrate import MEASURES, CalibrationResult, store_calibrator
from sslcli.workflows.calibration_data import Fitting, parts


def plan(publisher: Publisher, fitting: Fitting, seed: int | None) -> None:
    """Say how much would be fitted and reported on; for `--dry-run`."""
    run = publisher.run
    run.splits.need_held_out()
    fit, report = parts(run, fitting, run.config.seed if seed is None else seed)
    images = {"fit": len(fit) if fit else 0, "report": len(report)}
    publisher.plan(images, does="")


def stored(publisher: Publisher, result: CalibrationResult) -> CalibrationResult:
    """Store the calibrator, unless a `--require` is not met."""
    if publisher.met(result.metrics()):
        return store_calibrator(publisher.run, result)
    publisher.show.warn("a --require is not met, so nothing is stored")
    return result


def publish(publisher: Publisher, result: CalibrationResult, *, figure: str, bins: int) -> None:
    """Draw the diagram of the first seed, print the table and keep the record.

    Args:
        publisher: Where it goes.
        result: The measured numbers.
        figure: The diagram's file name.
        bins: How many bins were asked for.
    """
    first, more = result.first, dict[str, Any]()
    if result.over_seeds is not None:
        more["over_seeds"] = {name: asdict(each) for name, each in result.over_seeds.items()}
    publisher.publish(
        {**result.metrics(), "protocol": result.protocol},
        **_table(result),
        bins=bins,
        reliability={title: panel.rows() for title, panel in first.reliability.items()},
        figures=_draw(publisher, result, figure),
        stored=result.stored,
        calibrator=result.calibrator.facts() if result.calibrator else None,
        **more,
    )


def _table(result: CalibrationResult) -> dict[str, Any]:
    """Return a table of one split with the figures before and after beside each other."""
    first = result.first
    if result.over_seeds is not None or first.after is None:
        return {}
    before, after, found = asdict(first.before), asdict(first.after), first.metrics()
    rows: list[tuple[Any, ...]] = [(name, before[name], after[name]) for name in (*MEASURES, "n")]
    rows += [(name, "", found[name]) for name in ("n_fit", "temperature") if name in found]
    return {"columns": ("measure", "before", "after"), "rows": rows}


def _draw(publisher: Publisher, result: CalibrationResult, name: str) -> list[str]:
    """Draw the diagram and return its path; if it cannot be written, only the figure is missing."""
    path = publisher.run.checkpoint.run / "figures" / name
    try:
        write_atomically(path, lambda file: reliability_diagram(result.first.reliability, file))
    except ResourceError as fault:
        publisher.show.warn(f"{fault.where}: {fault.what}")
        return []
    publisher.show.note(f"reliability diagram {path}")
    return [str(path)]
