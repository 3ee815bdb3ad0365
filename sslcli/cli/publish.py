"""Publish an evaluation: its table, its JSON, its line in results.jsonl, and its gates."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sslcli.cli.requirement import Requirement, unmet
from sslcli.cli.show import Show
from sslcli.errors import ExitCode, GateError, ResourceError

if TYPE_CHECKING:
    from pathlib import Path

    from sslcli.engine.checkpoint import Checkpoint
    from sslcli.workflows.run import Run
    from sslcli.workflows.transfer import Repeated

METRICS = ("top1", "top5", "n", "mean_per_class")
TOP = 5  # classes up to which there is no top5


class Publisher:
    """Shows the plan or the results of an evaluation, and keeps its record.

    Args:
        show: The command's streams.
        run: The checkpoint that is evaluated.
        require: Conditions on the metrics.
        started: When the evaluation began, by `time.perf_counter`; None for now.
    """

    def __init__(
        self,
        show: Show,
        run: "Run",
        require: Sequence[Requirement],
        started: float | None = None,
    ) -> None:
        self.show, self.run, self.require = show, run, require
        self._started = time.perf_counter() if started is None else started

    def plan(
        self,
        counts: Mapping[str, int] | None = None,
        *,
        first: str = "part",
        does: str = " to encode",
        **own: Any,
    ) -> None:
        """Show how many images or texts would be used; for `--dry-run`.

        Args:
            counts: Number of rows by their use; None for the training and the test part.
            first: Head of the table's first column.
            does: What becomes of the rows, behind their noun in the second one.
            own: Further fields of the command's own record, or another `images`.
        """
        from sslcli.config.presets import config_hash
        from sslcli.data.sources.base import noun

        splits = self.run.splits
        counts = counts or {"train": len(splits.train), "test": len(splits.test)}
        self.show.table("", (first, f"{noun(splits.test)}{does}"), list(counts.items()))
        fields = {"dry_run": True, "images": dict(counts), **own}
        self.show.result(**fields, config_hash=config_hash(self.run.config))

    def publish(
        self,
        found: Mapping[str, Any],
        *,
        columns: Sequence[str] = ("metric", "value"),
        rows: Sequence[Sequence[Any]] = (),
        why_not: Callable[[str], str] = lambda metric: "",
        protocol: str = "",
        intervals: Mapping[str, Sequence[float]] = MappingProxyType({}),
        figures: Sequence[str] = (),
        calibrator: Mapping[str, Any] | None = None,
        **own: Any,
    ) -> None:
        """Print the numbers, append them to results.jsonl, then hold them to the requirements.

        Args:
            found: Numbers by name; None for those that were not measured. Words among
                them, such as the protocol, are fields of the record beside the metrics.
            columns: Heads of the table.
            rows: Rows of the table, when one metric a line is not the best one.
            why_not: Returns why a metric was not measured, for a requirement of it.
            protocol: How it was measured, in one line, where `found` does not say it.
            intervals: Low and high end of a metric, where that is known.
            figures: Paths of what was drawn.
            calibrator: The facts of the calibrator of the probabilities, and of its fit.
            own: Further fields of the command's own record.

        Raises:
            GateError: If a requirement is not met.
        """
        words = {name: value for name, value in found.items() if isinstance(value, str)}
        metrics = {name: value for name, value in found.items() if name not in words}
        numbers = {name: value for name, value in metrics.items() if value is not None}
        faults = unmet(self.require, numbers, why_not)
        record = self.show.record(
            **self._about(metrics), **{"protocol": protocol, **words}, intervals=dict(intervals),
            figures=list(figures), calibrator=calibrator, **own, **_failed(faults),
        )  # fmt: skip
        self.show.table("", columns, rows or list(numbers.items()))
        for name, value in words.items():
            self.show.note(f"{name}: {value}")
        self._keep(record)
        self.show.result(**record)
        if faults:
            raise GateError("; ".join(faults), where="--require")

    def publish_repeated(self, result: "Repeated", **own: Any) -> None:
        """Publish what was measured once, or the means over seeds with how they vary.

        Args:
            result: What was measured.
            own: See `publish`.
        """
        over = {name: asdict(summary) for name, summary in result.over_seeds.items()}
        own |= {"over_seeds": over} if over else {}
        self.publish(result.as_dict(), **own)

    def met(self, metrics: Mapping[str, Any]) -> bool:
        """Say whether every requirement holds."""
        return all(requirement.check(metrics) for requirement in self.require)

    def _keep(self, record: Mapping[str, Any]) -> None:
        """Append a record to the run's results.jsonl."""
        from sslcli.distributed.collective import is_main
        from sslcli.engine.run_directory import append_line, timestamp

        try:
            if is_main():
                line = {"time": timestamp(), **record}
                append_line(self.run.checkpoint.run / "results.jsonl", line)
        except ResourceError as fault:  # such as a checkpoint on a read-only disk
            self.show.warn(f"{fault.where}: {fault.what}")

    def _about(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that every evaluation has: its checkpoint, data, device and others."""
        from sslcli.config.presets import config_hash

        run, splits = self.run, self.run.splits
        return {
            "checkpoint": str(run.checkpoint.path),
            "step": run.checkpoint.facts.get("step"),
            "data": {"train": splits.train.name, "test": splits.test.name, "note": splits.note},
            "metrics": metrics,
            "unreadable": run.unreadable,
            "seconds": round(time.perf_counter() - self._started, 2),
            "device": str(run.device),
            "precision": run.precision,
            "config_hash": config_hash(run.config),
        }


def _failed(faults: Sequence[str]) -> dict[str, Any]:
    """Return the fields that tell unmet requirements; none if all are met."""
    if not faults:
        return {}
    return {"exit_code": int(ExitCode.GATE_NOT_MET), "unmet": list(faults)}


def open_run(
    ckpt: "str | Path | Checkpoint | Run",
    show: Show,
    *,
    require: Sequence[str] = (),
    metrics: Sequence[str] = METRICS,
    labelled: bool = True,
    **options: Any,
) -> Publisher:
    """Check every option, then load the checkpoint's encoder and open the data.

    Args:
        ckpt: What `workflows.run.load` takes.
        show: The command's streams.
        require: The texts of each `--require`.
        metrics: Names that `require` may use.
        labelled: Whether the data must have labels.
        options: See `workflows.run.load`.
    """
    for text in require:
        Requirement.parse(text, metrics)
    from sslcli.data.sources.base import need_labels
    from sslcli.workflows.run import load

    run = load(ckpt, listener=show, **options)
    _ = run.encoder  # what is wrong with the checkpoint is told before the data is opened
    for source in (run.splits.train, run.splits.test) if labelled else ():
        need_labels(source)
    if len(run.splits.train.class_names) <= TOP:
        metrics = [name for name in metrics if not name.startswith("top5")]
    return Publisher(show, run, [Requirement.parse(text, metrics) for text in require])


def seeded(metrics: Sequence[str], seeds: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the metrics of an evaluation, repeated over seeds or not."""
    if not seeds:
        return tuple(metrics)
    from sslcli.workflows.transfer import AVERAGED

    return (*metrics, *(f"{name}_deviation" for name in AVERAGED), "seeds")
