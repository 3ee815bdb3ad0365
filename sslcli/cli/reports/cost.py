"""Show a resolved config and what it will cost, for `--dry-run`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sslcli.cli.show import Show
from sslcli.cli.words import as_typed
from sslcli.errors import UsageError

if TYPE_CHECKING:
    from sslcli.profile.cost import Cost
    from sslcli.workflows.fit import Outlook
    from sslcli.workflows.ways import Way

_MEMORY = {
    "weights": "weights",
    "moments": "optimiser moments",
    "buffers": "buffers",
    "data": "decoded data set",
    "views": "views held in a step",
    "step": "a step at its peak",
    "activations": "  of it activations, at most",
    "gradients": "  of it gradients, at most",
    "heap": "holes in the heap",
    "host": "workers, and batches on their way",
}


def show_estimate(
    outlook: "Outlook",
    show: Show,
    peak_tflops: float | None = None,
    utilisation: float | None = None,
) -> None:
    """Print the config as TOML, and the estimate as a table or in the JSON object.

    Args:
        outlook: What the training takes, and what is free.
        show: Where to print.
        peak_tflops: Speed of one device, in 1e12 operations a second; None gives no hours.
        utilisation: Share of the peak that is reached; None: all of it, so hours are a lower bound.

    Raises:
        SslError: If an option is out of its range.
    """
    from sslcli.config.presets import config_hash, to_toml
    from sslcli.data.sources.base import noun
    from sslcli.profile.preparing import own_loader
    from sslcli.workflows.ways import spelled

    _check(peak_tflops, utilisation)
    config, cost = outlook.config, outlook.cost()
    show.data(to_toml(config))
    ways = [] if outlook.fits is not False else outlook.ways()
    if cost is None or outlook.training is None:
        show.warn(f"what this takes cannot be told: {outlook.unknown}")
    else:
        source = own_loader(outlook.training).source
        hours = _hours(cost, peak_tflops, utilisation)
        work = _work(cost, noun(source, 1), noun(source))
        rows = [*work, *_memory(cost), *_room(outlook), *hours]
        rows += [
            (f"would fit: {as_typed(spelled(way))}", f"{_mebibytes(takes)}; {way.means}")
            for way, takes in ways
        ]
        show.table("What it will cost", ("quantity", "estimate"), rows)
    show.result(
        dry_run=True,
        config=config.model_dump(mode="json"),
        config_hash=config_hash(config),
        estimate=cost and _estimate(cost, peak_tflops, utilisation),
        memory=_record(outlook, ways),
    )


def _estimate(cost: "Cost", peak_tflops: float | None, utilisation: float | None) -> dict[str, Any]:
    hours = _device_hours(cost, peak_tflops, utilisation)
    return {
        **asdict(cost),
        "memory": {**asdict(cost.memory), "total": cost.memory.total},
        "flops": cost.flops,
        "peak_tflops": peak_tflops,
        "utilisation": utilisation,
        "device_hours": hours,
        "wall_hours": None if hours is None else hours / cost.processes,
    }


def _record(outlook: "Outlook", ways: "Sequence[tuple[Way, int]]") -> dict[str, Any]:
    """Return the comparison with what is free, in bytes."""
    room = outlook.room
    return {
        "needed": outlook.takes or None,
        "free": room.device and room.device.nbytes,
        "free_where": room.device and room.device.whose,
        "fits": outlook.fits,
        "would_fit": [
            {"set": dict(way.changes), "means": way.means, "needed": takes} for way, takes in ways
        ],
    }


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
    return [(label, _mebibytes(count)) for label, count in parts.items()]


def _room(outlook: "Outlook") -> list[tuple[str, str]]:
    """Return the rows that compare the estimate with what is free."""
    room, answer = outlook.room, {True: "yes", False: "no", None: "unknown"}[outlook.fits]
    left = f"{_mebibytes(room.device.nbytes)} {room.device.whose}" if room.device else "unknown"
    together = [("memory on this machine", _mebibytes(outlook.takes))]
    is_shared = room.is_host and room.local > 1
    return [*(together if is_shared else []), ("free memory", left), ("fits", answer)]


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _device_hours(
    cost: "Cost", peak_tflops: float | None, utilisation: float | None
) -> float | None:
    return None if peak_tflops is None else cost.device_hours(peak_tflops, utilisation or 1.0)


def _hours(
    cost: "Cost", peak_tflops: float | None, utilisation: float | None
) -> list[tuple[str, str]]:
    hours = _device_hours(cost, peak_tflops, utilisation)
    if hours is None:
        return [("device-hours", "unknown: no device peak was given")]
    reached = f"{peak_tflops:g} TFLOP/s" + (f" at {utilisation:.0%}" if utilisation else "")
    bound = "" if utilisation else ", at least: no utilisation was given"
    return [
        (f"device-hours, {reached}", f"{hours:,.3f}{bound}"),
        ("hours by the clock", f"{hours / cost.processes:,.3f}{bound}"),
    ]
