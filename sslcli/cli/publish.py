"""Publish an evaluation: its table, its JSON, its line in results.jsonl, and its gates."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sslcli.cli.requirement import Requirement, enforce
from sslcli.cli.show import Show
from sslcli.errors import ResourceError

if TYPE_CHECKING:
    from sslcli.workflows.run import Run

METRICS = ("top1", "top5", "n")
TOP = 5  # classes up to which there is no top5


class Publisher:
    """Shows what came of an evaluation.

    Args:
        show: The command's streams.
        run: What is evaluated.
        require: Conditions on the metrics.
    """

    def __init__(self, show: Show, run: "Run", require: Sequence[Requirement]) -> None:
        self.show, self.run, self.require = show, run, require
        self._started = time.perf_counter()

    def plan(self) -> None:
        """Say what would be run; for `--dry-run`."""
        from sslcli.config.presets import config_hash

        splits = self.run.splits
        images = {"train": len(splits.train), "test": len(splits.test)}
        self.show.table("", ("part", "images to encode"), list(images.items()))
        self.show.result(dry_run=True, images=images, config_hash=config_hash(self.run.config))

    def publish(
        self,
        metrics: Mapping[str, Any],
        *,
        columns: Sequence[str] = ("metric", "value"),
        rows: Sequence[Sequence[Any]] = (),
        why_not: Callable[[str], str] = lambda metric: "",
        **more: Any,
    ) -> None:
        """Print the numbers, append them to results.jsonl, then hold them to the requirements.

        Args:
            metrics: By name; what is no number is said on stderr.
            columns: Heads of the table.
            rows: Rows of the table, when one metric a line is not the best one.
            why_not: Returns why a metric was not measured, for a requirement of it.
            more: Further fields of the record.
        """
        from sslcli.distributed.collective import is_main
        from sslcli.engine.run_directory import append_line, timestamp

        shown = {key: value for key, value in metrics.items() if value is not None}
        record = {**self._record(shown), **more}
        numbers = {k: v for k, v in shown.items() if isinstance(v, int | float)}
        self.show.table("", columns, rows or list(numbers.items()))
        for name, value in shown.items():
            if name not in numbers:
                self.show.note(f"{name}: {value}")
        line = {"time": timestamp(), "command": self.show.command, **record}
        try:
            if is_main():
                append_line(self.run.checkpoint.run / "results.jsonl", line)
        except ResourceError as fault:  # such as a checkpoint on a read-only disk
            self.show.warn(f"{fault.where}: {fault.what}")
        self.show.result(**record)
        enforce(self.require, numbers, why_not)

    def met(self, metrics: Mapping[str, Any]) -> bool:
        """Say whether every requirement holds."""
        return all(requirement.check(metrics) for requirement in self.require)

    def _record(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        from sslcli.config.presets import config_hash
        from sslcli.engine.checkpoint import versions

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
            "versions": versions(),
            "config_hash": config_hash(run.config),
        }


def open_run(
    ckpt: str,
    show: Show,
    *,
    require: Sequence[str] = (),
    metrics: Sequence[str] = METRICS,
    labelled: bool = True,
    **options: Any,
) -> Publisher:
    """Check every option, then load the checkpoint's encoder and open the data.

    Args:
        ckpt: A checkpoint or run directory.
        show: The command's streams.
        require: What each `--require` says.
        metrics: What will be measured, for `require`.
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
    """Return the metrics there will be when an evaluation is repeated over seeds."""
    if not seeds:
        return tuple(metrics)
    return (*metrics, "top1_deviation", "top5_deviation", "seeds")
