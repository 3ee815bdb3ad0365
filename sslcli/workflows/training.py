"""Carry out one training run; pretraining, fine-tuning and all other trainings share this."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sslcli.data.sources.base import noun
from sslcli.data.sources.splits import Splits
from sslcli.distributed.collective import from_main, is_main
from sslcli.distributed.launch import check_devices, joined, local_device
from sslcli.engine import trainer
from sslcli.engine.boards import open_boards
from sslcli.engine.checkpoint import BEST, load_checkpoint
from sslcli.engine.device import pick_device
from sslcli.engine.log import Log, Probe
from sslcli.engine.loop import Training
from sslcli.engine.rollback import train_with_rollbacks
from sslcli.engine.run_directory import truncate_metrics, unlock_run
from sslcli.engine.state import has_state
from sslcli.engine.stop import Stop
from sslcli.environment import world
from sslcli.errors import InterruptedRunError, UsageError
from sslcli.listener import Listener
from sslcli.methods.custom import code_facts
from sslcli.workflows.place import Place
from sslcli.workflows.probing import best_of, online_probe, why_no_online_knn
from sslcli.workflows.resuming import lacked
from sslcli.workflows.run import Run


@contextmanager
def taking_part(device: str, say: Callable[[str], None]) -> Iterator[torch.device]:
    """Join the other processes of the launcher while the context lasts; yield the device.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:1".
        say: Told who is awaited, when other processes are long in coming.
    """
    here, where = world(), pick_device(device)
    check_devices(here.local_size, where)
    where = local_device(where, here)
    with joined(here, where, say):
        yield where


def device_of(run: str | Path | Run, device: str) -> str:
    """Return the device that was asked for; "auto" is the device of a run that is open already."""
    return str(run.device) if isinstance(run, Run) and device == "auto" else device


def expect_one(devices: int) -> None:
    """Raise UsageError when a function is asked to train in several processes.

    They would have to run the caller's program again from its start.
    """
    if devices != 1:
        hint = "use the command line, or start your program with torchrun and leave it out"
        raise UsageError("a function trains in one process", "devices", hint)


def train_run(
    training: Training,
    splits: Splits,
    facts: dict[str, Any],
    run: Path,
    place: Place,
    stop: Stop,
    listener: Listener,
) -> dict[str, Any]:
    """Train to the end under a watcher and return the last metrics; the run is unlocked then.

    Args:
        training: The training to run.
        splits: Its data.
        facts: Facts about the data, for the checkpoint.
        run: The run directory, which this process has locked.
        place: Whether the run is resumed.
        stop: Signals and time limit.
        listener: Who is told what happens.

    Raises:
        KeyboardInterrupt: On Ctrl-C, once the state is saved.
        SslError: If it is stopped otherwise, or goes wrong.
    """
    config, where = training.config, (training.device, training.precision)
    probe, training.best = online_probe(config, splits, *where), best_of(config, splits)
    try:
        if place.resume and _has_ended(training, run, listener):
            return dict(load_checkpoint(run).facts["metrics"])
        if is_main():
            facts = facts | lacked(place.saved()) | code_facts(training.config)
            truncate_metrics(run / "metrics.jsonl", training.step)
        if probe and not config.evaluation.online_every:
            listener.note(f"the encoder is measured every {probe.every}; see `best`")
        measures_pairs = config.evaluation.online_sts is not None
        if (
            config.evaluation.online_every
            and not measures_pairs
            and (why := why_no_online_knn(config, splits))
        ):
            listener.note(f"no online kNN: {why}")
        return _loop(training, probe, facts, run, stop, listener, noun(splits.train))
    except InterruptedRunError as fault:
        raise KeyboardInterrupt(f"{fault.what} - {fault.hint}") from fault
    finally:
        unlock_run(run)


def _has_ended(training: Training, run: Path, listener: Listener) -> bool:
    """Load the run's newest state into `training`, and say whether that is the run's end."""
    if not from_main(has_state(run)):
        listener.note("this run had saved nothing yet: starting at step 0")
        return False
    for remark in trainer.resume(training, run):
        listener.warn(remark)
    done, total = training.step, training.total_steps
    if training.best and training.best.is_over:
        listener.note(f"this run has ended at step {done}: {training.best.why_over()}")
        return True
    if done >= total:
        listener.note(f"this run is complete: {done} of {total} steps")
        return True
    listener.note(f"resuming after step {done} of {total}")
    return False


def _loop(
    training: Training,
    probe: Probe | None,
    facts: dict[str, Any],
    run: Path,
    stop: Stop,
    listener: Listener,
    rows: str,
) -> dict[str, Any]:
    watcher = listener.watcher(
        training.total_steps, training.step, training.steps_per_epoch, rows=rows
    )
    with stop, watcher as follower:
        boards = open_boards(run, training.config) if is_main() else {}
        log = Log(run / "metrics.jsonl", follower, boards)
        try:
            last = train_with_rollbacks(training, run, facts, log, stop, probe)
        finally:
            log.close()
    best = training.best
    if best and best.is_over and training.step < training.total_steps:
        early = f"ended early at step {training.step} of {training.total_steps}"
        listener.note(f"{early}: {best.why_over()}")
    if best and best.keeps and best.value is not None:
        listener.note(f"best {best.metric} {best.value:.4f} at step {best.step}: {run / BEST}")
    return last
