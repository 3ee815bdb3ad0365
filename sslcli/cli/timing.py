"""Time a config's training step and show where the time goes, for `ssl bench`."""

import os

import torch

from sslcli import assemble
from sslcli.cli.show import Show
from sslcli.config.schema import Config
from sslcli.engine.device import pick_device, resolve_precision, tune_device
from sslcli.engine.loop import Training
from sslcli.environment import core_count
from sslcli.listener import warn_of
from sslcli.profile.phases import FORWARD_BACKWARD, OPTIMISER, StepTimes, time_phases
from sslcli.profile.preparing import worker_processes

_TOO_SHORT = 5e-5  # seconds; a rate of less is that of the clock
_STEADY = 1.5  # slowest over fastest round


def time_and_show(config: Config, device: str, steps: int | None, show: Show) -> None:
    """Build a training, time it, and print where a step's time goes.

    Args:
        config: Its duration must be longer than what is timed.
        device: What --device says.
        steps: Steps timed of each phase; None for a default.
        show: Where to print.
    """
    training = _build(config, device, show)
    threads, workers = torch.get_num_threads(), worker_processes(training)
    show.note(f"images are {training.loader.mode}; {workers} workers, {threads} torch threads")
    times = time_phases(training, steps, show.bar("timing"))
    if times.spread > _STEADY:
        show.warn(
            f"rounds of the loop differ {times.spread:.1f} times: other work shares this machine; "
            "compare shares rather than times"
        )
    advice = remedy(times, training)
    show.table("", ("phase", "ms a step", "images/s", "what it is"), _rows(times, training))
    show.data(f"bottleneck: {times.bottleneck}")
    show.data(f"remedy: {advice}")
    show.result(
        preset=config.preset,
        device=str(training.device),
        precision=training.precision,
        batch_size=times.images,
        steps=times.steps,
        threads=threads,
        workers=workers,
        mode=training.loader.mode,
        phases={name: _facts(seconds, times) for name, seconds in times.parts.items()},
        sum_of_parts=_facts(times.total, times),
        loader=_facts(times.loader, times),
        loop=_facts(times.loop, times),
        hidden=times.hidden,
        spread=times.spread,
        bottleneck=times.bottleneck,
        remedy=advice,
    )


def _build(config: Config, device: str, show: Show) -> Training:
    """Return a training of the config, having said on what and with what."""
    where = pick_device(device)
    tune_device(where)
    precision, why = resolve_precision(config.train.precision, where)
    show.note(f"device {where}, precision {precision} ({why})")
    splits = assemble.open_training(config, show.bar)
    method = assemble.build_method(config, where, assemble.facts_of(splits.train))
    show.note(f"data {splits.train.name}: {len(splits.train):,} images")
    warn_of(splits.oddities, show)
    bar = show.bar("decoding")
    return assemble.build_training(config, method, splits.train, where, precision, bar)


def _facts(seconds: float, times: StepTimes) -> dict[str, float | None]:
    return {"seconds": seconds, "images_per_second": _rate(seconds, times)}


def _rate(seconds: float, times: StepTimes) -> float | None:
    """Return images a second; None for what takes no time."""
    return times.images / seconds if seconds >= _TOO_SHORT else None


def _rows(times: StepTimes, training: Training) -> list[tuple[str, str, str, str]]:
    meanings = _meanings(training)
    rows = [(name, seconds, meanings[name]) for name, seconds in times.parts.items()]
    rows += [
        ("sum of the parts", times.total, "a step in which nothing overlaps"),
        ("loader alone", times.loader, "batches as the loop gets them, while nobody trains"),
        ("whole step", times.loop, f"in the loop, which {_overlap(times)}"),
    ]
    return [
        (name, f"{1e3 * seconds:.2f}", _shown(seconds, times), what) for name, seconds, what in rows
    ]


def _shown(seconds: float, times: StepTimes) -> str:
    rate = _rate(seconds, times)
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}"


def _overlap(times: StepTimes) -> str:
    if times.hidden >= 0:
        return f"hides {100 * times.hidden:.0f} % of the sum"
    return f"adds {-100 * times.hidden:.0f} % to the sum"


def _meanings(training: Training) -> dict[str, str]:
    """Return what each phase is in this training."""
    is_streamed = bool(training.loader.remedy)
    in_workers = "in one process; the loop has workers for it"
    on_cpu = training.device.type == "cpu"
    return {
        "decode": f"read and decode, {in_workers}"
        if is_streamed
        else "take images out of the store",
        "crop": f"cut and resize every view, {in_workers}",
        "tokenise": "read texts and turn them into numbers",
        "transfer": "nothing moves: images are there" if on_cpu else f"to {training.device}",
        "views": "the rest of each view"
        if is_streamed
        else "crop, colour and all else of each view",
        FORWARD_BACKWARD: f"the network, in {training.precision}",
        OPTIMISER: f"{training.config.optimizer.name} and the method's hooks",
    }


def remedy(times: StepTimes, training: Training) -> str:
    """Return in one sentence what would make the bottleneck wider."""
    idle = _idle_cores(training)
    if times.bottleneck in ("decode", "crop", "tokenise"):
        held = "raise data.memory_budget_gib, so that decoded images are held in memory"
        return training.loader.remedy or held
    if times.bottleneck == "transfer":
        return "raise data.memory_budget_gib, so that images stay on the device"
    if idle:
        return idle
    if times.bottleneck == "views":
        return "use fewer, smaller or simpler views, or a faster device for them"
    if times.bottleneck == OPTIMISER:
        return "raise train.batch_size: the optimiser's time does not grow with it"
    if training.precision == "fp32" and _is_bf16_faster(training.device):
        return "use --precision bf16, which is faster on this device"
    faster = "a GPU, " if training.device.type == "cpu" else ""
    compiled = "" if training.config.train.compile else "try --set train.compile=true, "
    return f"the network itself sets the pace: {compiled}{faster}a smaller encoder or smaller views"


def _is_bf16_faster(device: torch.device) -> bool:
    return resolve_precision("auto", device).precision == "bf16"


def _idle_cores(training: Training) -> str:
    """Return how to use the cores that torch leaves idle, if nothing else works on them."""
    cores = core_count()
    is_busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    if training.device.type != "cpu" or is_busy or torch.get_num_threads() >= cores:
        return ""
    return f"set OMP_NUM_THREADS={cores}: torch works on {torch.get_num_threads()} of {cores} cores"
