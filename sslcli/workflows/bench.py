"""Time the phases of a config's training step, and say what would make the slowest one faster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sslcli import assemble
from sslcli.config.duration import Duration
from sslcli.config.schema import Config
from sslcli.data.sources.base import noun
from sslcli.engine.device import pick_device, resolve_precision, tune_device
from sslcli.engine.loop import Training
from sslcli.environment import core_count, is_busy, world
from sslcli.errors import UsageError
from sslcli.listener import QUIET, Listener, warn_of
from sslcli.profile.phases import FORWARD_BACKWARD, OPTIMISER, StepTimes, time_phases
from sslcli.profile.preparing import own_loader, worker_processes
from sslcli.workflows.choose import fields_of, resolved

_TOO_SHORT = 5e-5  # seconds; a rate of less is that of the clock
_STEADY = 1.5  # slowest over fastest round


@dataclass(frozen=True)
class BenchResult:
    """The times of the phases of a training step.

    Attributes:
        preset: The preset that was timed; None for a config file without one.
        device: Where.
        precision: In which arithmetic.
        threads: Threads of torch.
        workers: Processes that decode images.
        mode: How images get to the device.
        times: Medians of each phase, in seconds a step.
        meanings: A description of each phase, also of phases that do not occur.
        remedy: How to make the bottleneck faster, in one sentence.
        rows: The word for what a step is made of.
    """

    preset: str | None
    device: str
    precision: str
    threads: int
    workers: int
    mode: str
    times: StepTimes
    meanings: Mapping[str, str]
    remedy: str
    rows: str

    def rate(self, seconds: float) -> float | None:
        """Return `rows` a second for `seconds` a step; None for a time too short to measure."""
        return self.times.images / seconds if seconds >= _TOO_SHORT else None


def bench(
    method: str | None = None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    data: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    steps: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    listener: Listener = QUIET,
) -> BenchResult:
    """Time the phases of a training step, one by one and in the loop, and name the bottleneck.

    Nothing is kept of what is trained. Times are medians; every image of a step counts once,
    however many views it has.

    Args:
        method: A paper's short name, or a class of your own as "FILE.py:Class", whose file may then
            run. It picks the preset that suits the data.
        preset: A preset's name, or a .toml file.
        config: A .toml file laid over the preset, such as a run's config.toml.
        overrides: Changes of the config, as a mapping or as `--set` writes them.
        data: The data set, when not the preset's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        steps: Steps timed of each phase, 3 or more; None for as many as 8 seconds hold, 3 to 30.
        device: Where to run.
        precision: Instead of the preset's.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing or does not fit, or the data is too small to time.
    """
    fields = fields_of(data=data, data_root=data_root, download=download, precision=precision)
    file = None if config is None else str(config)
    chosen = resolved(method, preset, file, fields, overrides, device, listener).config
    training = _build(_endless(chosen), device, listener)
    threads, workers = torch.get_num_threads(), worker_processes(training)
    mode, rows = training.loader.mode, noun(own_loader(training).source)
    times = time_phases(training, steps, listener.bar("timing"))
    if times.spread > _STEADY:
        listener.warn(
            f"rounds of the loop differ {times.spread:.1f} times: other work shares this machine; "
            "compare shares rather than times"
        )
    return BenchResult(
        chosen.preset, str(training.device), training.precision, threads, workers, mode, times,
        _meanings(training, rows), remedy(times, training), rows,
    )  # fmt: skip


def _endless(config: Config) -> Config:
    """Return the config with a duration longer than any timing.

    Raises:
        UsageError: If it needs a checkpoint, or this is one of several processes.
    """
    if config.method.from_checkpoint:
        hint = "time the method that made the checkpoint"
        raise UsageError(f"a {config.method.name} run needs a checkpoint", "method.name", hint)
    if (size := world().size) > 1:
        hint = "start it without torchrun or srun"
        raise UsageError(f"bench times one process, and this is one of {size}", "RANK", hint)
    train = config.train.model_copy(update={"duration": Duration("1000000 epochs")})
    return config.model_copy(update={"train": train})


def _build(config: Config, device: str, listener: Listener) -> Training:
    """Build the training of a config, and tell the listener its device, precision and data."""
    where = pick_device(device)
    tune_device(where)
    precision, why = resolve_precision(config.train.precision, where)
    listener.note(f"device {where}, precision {precision} ({why})")
    splits = assemble.open_training(config, listener.bar)
    method = assemble.build_method(config, where, assemble.facts_of(splits.train))
    rows = noun(splits.train)
    listener.note(f"data {splits.train.name}: {len(splits.train):,} {rows}")
    warn_of(splits.oddities, listener)
    bar = listener.bar("decoding")
    training = assemble.build_training(config, method, splits.train, where, precision, bar)
    workers, threads = worker_processes(training), torch.get_num_threads()
    listener.note(f"{rows} are {training.loader.mode}; {workers} workers, {threads} torch threads")
    return training


def _meanings(training: Training, rows: str) -> dict[str, str]:
    """Return a short description of each phase in a training on `rows`."""
    is_streamed = bool(training.loader.remedy)
    in_workers = "in one process; the loop has workers for it"
    on_cpu = training.device.type == "cpu"
    return {
        "decode": f"read and decode, {in_workers}"
        if is_streamed
        else "take images out of the store",
        "crop": f"cut and resize every view, {in_workers}",
        "tokenise": "read texts and turn them into numbers",
        "transfer": f"nothing moves: {rows} are there" if on_cpu else f"to {training.device}",
        "views": "the rest of each view"
        if is_streamed
        else "crop, colour and all else of each view",
        FORWARD_BACKWARD: f"the network, in {training.precision}",
        OPTIMISER: f"{training.config.optimizer.name} and the method's hooks",
    }


def remedy(times: StepTimes, training: Training) -> str:
    """Return one sentence of advice on how to make the bottleneck faster."""
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
        return "use `precision` bf16, which is faster on this device"
    faster = "a GPU, " if training.device.type == "cpu" else ""
    compiled = "" if training.config.train.compile else "try `overrides` train.compile=true, "
    return f"the network itself sets the pace: {compiled}{faster}a smaller encoder or smaller views"


def _is_bf16_faster(device: torch.device) -> bool:
    return resolve_precision("auto", device).precision == "bf16"


def _idle_cores(training: Training) -> str:
    """Return how to use the cores that torch leaves idle, if nothing else works on them."""
    cores = core_count()
    if training.device.type != "cpu" or is_busy() or torch.get_num_threads() >= cores:
        return ""
    return f"set OMP_NUM_THREADS={cores}: torch works on {torch.get_num_threads()} of {cores} cores"
