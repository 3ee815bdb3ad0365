"""Show a resolved config and what it will cost, for `--dry-run`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sslcli.cli.show import Show
from sslcli.errors import UsageError

if TYPE_CHECKING:
    from sslcli.engine.loop import Training
    from sslcli.profile.cost import Cost

_MEMORY = {
    "weights": "weights",
    "gradients": "gradients",
    "moments": "optimiser moments",
    "buffers": "buffers",
    "views": "views of a micro-batch",
    "activations": "activations of a micro-batch",
    "data": "decoded data set",
}


def show_estimate(
    training: "Training",
    show: Show,
    processes: int = 1,
    peak_tflops: float | None = None,
    utilisation: float | None = None,
) -> None:
    """Print the config as TOML, and the estimate as a table or in the JSON object.

    Args:
        training: The training to estimate, built for one process.
        show: Where to print.
        processes: Processes that would share each batch.
        peak_tflops: Speed of one device, in 1e12 operations a second; None gives no hours.
        utilisation: Share of the peak that is reached; None: all of it, so hours are a lower bound.

    Raises:
        SslError: If an option is out of its range, or the batch cannot be divided.
    """
    from sslcli.config.presets import config_hash, to_toml
    from sslcli.data.sources.base import noun
    from sslcli.profile.cost import estimate
    from sslcli.profile.preparing import own_loader

    _check(peak_tflops, utilisation)
    cost = estimate(training, processes)
    hours = None if peak_tflops is None else cost.device_hours(peak_tflops, utilisation or 1.0)
    show.data(to_toml(training.config))
    source = own_loader(training).source
    both = noun(source, 1), noun(source)
    rows = [*_work(cost, *both), *_memory(cost), *_hours(cost, hours, peak_tflops, utilisation)]
    show.table("What it will cost", ("quantity", "estimate"), rows)
    show.result(
        dry_run=True,
        config=training.config.model_dump(mode="json"),
        config_hash=config_hash(training.config),
        estimate={
            **asdict(cost),
            "memory": {**asdict(cost.memory), "total": cost.memory.total},
            "flops": cost.flops,
            "peak_tflops": peak_tflops,
            "utilisation": utilisation,
            "device_hours": hours,
            "wall_hours": None if hours is None else hours / processes,
        },
    )


def _check(peak_tflops: float | None, utilisation: float | None) -> None:
    if peak_tflops is not None and peak_tflops <= 0:
        hint = "give the device's arithmetic at the run's precision, in 1e12 operations a second"
        raise UsageError(f"{peak_tflops} is no peak", "--peak-tflops", hint)
    if utilisation is not None and peak_tflops is None:
        hint = "add --peak-tflops"
        raise UsageError("a utilisation needs the peak it is a share of", "--utilisation", hint)
    if utilisation is not None and not 0 < utilisation <= 1:
        hint = "write a share such as 0.4"
        raise UsageError(f"{utilisation} is no share of a peak", "--utilisation", hint)


def _work(cost: "Cost", row: str, rows: str) -> list[tuple[str, str]]:
    return [
        ("optimiser steps", f"{cost.steps:,}"),
        (f"{rows} seen", f"{cost.images:,}"),
        ("processes", f"{cost.processes:,}"),
        (f"{rows} of a process's micro-batch", f"{cost.micro_batch:,}"),
        ("trainable parameters", f"{cost.parameters:,}"),
        ("encoder parameters", f"{cost.encoder_parameters:,}"),
        (f"GFLOP per {row}, all views", f"{cost.flops_per_image / 1e9:.3f}"),
        ("PFLOP in all", f"{cost.flops / 1e15:.3f}"),
    ]


def _memory(cost: "Cost") -> list[tuple[str, str]]:
    parts = {label: getattr(cost.memory, name) for name, label in _MEMORY.items()}
    parts["memory per process"] = cost.memory.total
    return [(label, f"{count / 2**20:,.1f} MiB") for label, count in parts.items()]


def _hours(
    cost: "Cost", hours: float | None, peak_tflops: float | None, utilisation: float | None
) -> list[tuple[Any, ...]]:
    if hours is None:
        return [("device-hours", "unknown: no device peak was given")]
    reached = f"{peak_tflops:g} TFLOP/s" + (f" at {utilisation:.0%}" if utilisation else "")
    bound = "" if utilisation else ", at least: no utilisation was given"
    return [
        (f"device-hours, {reached}", f"{hours:,.3f}{bound}"),
        ("hours by the clock", f"{hours / cost.processes:,.3f}{bound}"),
    ]
