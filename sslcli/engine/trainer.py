"""Run a training from its first or last saved step to its end: log, save, resume, stop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslcli.distributed.collective import Ballot, from_main, is_main, rank, world_size
from sslcli.engine.best import Best
from sslcli.engine.checkpoint import BEST, load_checkpoint, save_checkpoint
from sslcli.engine.log import Log, Probe
from sslcli.engine.loop import Training, steps, train_step
from sslcli.engine.state import (
    State,
    drop_old,
    newest_state,
    pack_optimizer,
    point_checkpoint,
    random_state,
    restore_random_state,
    save_state,
    state_folder,
    unpack_optimizer,
)
from sslcli.engine.stop import REASONS, Stop
from sslcli.errors import CheckpointError


def train(
    training: Training,
    run: Path,
    facts: Mapping[str, Any],
    log: Log,
    stop: Stop,
    probe: Probe | None = None,
) -> dict[str, Any]:
    """Train to the end of the run and return the last value of every metric.

    Args:
        training: What to train, at the step to go on from.
        run: The run directory.
        facts: Facts about the data for the checkpoint.
        log: Receives the metrics.
        stop: Asked after every step.
        probe: Measures the encoder from time to time, such as by online kNN.

    Raises:
        StoppedError: If it was told to stop; the state is saved.
        UnhealthyError: If the loss is not finite; the last saved state is intact.
    """
    best = training.best
    plan = training.config.train
    per_epoch, total = training.steps_per_epoch, training.total_steps
    log_every = max(1, plan.log_every.steps(per_epoch, total))
    save_every = max(1, plan.checkpoint_every.steps(per_epoch, total))
    probe_every = max(1, probe.every.steps(per_epoch, total)) if probe else 0
    ballot = Ballot()
    for batches in steps(training):
        result = train_step(training, batches)
        log.add(training, result)
        step, stopping = training.step, REASONS[ballot(REASONS.index(stop.reason()))]
        saving = step % save_every == 0 or step == total or bool(stopping)
        probing = bool(probe_every) and (step % probe_every == 0 or step == total)
        if step % log_every == 0 or saving or probing:
            may_save = saving or probing
            log.row(training, result, probe if probing else None, saving=may_save)
        if probing and best:
            log.settle()  # so that no unhealthy state counts as the best
            saving |= _judge(best, step, log)
        if saving:
            log.settle()  # before a save, so that no unhealthy state is saved
            log.pause()
            save(training, run, {**facts, "metrics": log.last})
            log.go_on()
        if best and best.is_over:
            break
        if stopping and step < total:
            raise stop.error(stopping, step, str(run))
    return log.last


def _judge(best: Best, step: int, log: Log) -> bool:
    """Take in what the first process has measured, and say whether a state must now be saved."""
    if is_main():
        best.take(step, log.measured.get(best.metric), log.warn)
    best.restore(from_main(best.facts()))
    return best.is_over or (best.keeps and best.step == step)


def save(training: Training, run: Path, facts: Mapping[str, Any]) -> None:
    """Save everything that `resume` needs; every process calls it."""
    tensors, groups = pack_optimizer(training.optimizer)
    described = {**facts, "step": training.step, "epoch": training.progress.epoch}
    described["precision"] = training.precision
    best = training.best
    if best:
        described["best"] = best.facts()
    local = {f"random.{name}": value for name, value in random_state().items()}
    local |= {f"local.{name}": value for name, value in training.method.local_state().items()}
    save_state(
        run,
        training.step,
        lambda path: save_checkpoint(
            path, training.method.state_dict(), training.config, described
        ),
        {"optimizer": tensors},
        local,
        {
            "optimizer": groups,
            "scaler": training.scaler.state_dict(),
            "metrics": facts["metrics"],
            "best": described.get("best"),
        },
        training.config.train.keep,
    )
    if best and best.keeps and best.step == training.step and is_main():
        point_checkpoint(run, state_folder(run, training.step), BEST)


def resume(training: Training, run: Path) -> list[str]:
    """Put `training` where the newest whole state left it; return remarks for the user.

    The number of processes may differ from the one that saved. The order of samples and their
    views do not depend on it; a process beyond the saved ones begins its random state anew, and
    takes the local state of one of them.

    Raises:
        CheckpointError: If no state is whole.
    """
    found = from_main(newest_state(run) if is_main() else None)
    assert found, "the first process has found one"
    state, remarks = found
    weights = state.tensors("model")
    if is_main() and not _has_saved(run, state.step, weights):
        # A killed process may have saved the one without the other.
        point_checkpoint(run, state.folder)
    if is_main():  # nor may it have come to remove what is too old
        drop_old(run, state.folder, training.config.train.keep)
    training.method.load_state_dict(weights)
    unpack_optimizer(training.optimizer, state.tensors("optimizer"), state.scalars["optimizer"])
    if state.scalars["scaler"]:
        training.scaler.load_state_dict(state.scalars["scaler"])
    local = state.tensors(f"rank-{rank() % state.processes}")
    if rank() < state.processes:
        restore_random_state(_under("random.", local))
    for name, value in _under("local.", local).items():
        training.method.local_state()[name].copy_(value)
    training.step = state.step
    if training.best:
        remarks += _restore_best(training.best, run, state)
    if state.processes != world_size():
        remarks.append(f"{state.processes} processes saved this state, {world_size()} go on")
    return remarks


def _restore_best(best: Best, run: Path, state: State) -> list[str]:
    """Go on from what a state says of the best step, as far as its weights are kept."""
    best.restore(state.scalars.get("best"))
    if not best.keeps or best.value is None:
        return []
    if best.step == state.step and is_main():
        point_checkpoint(run, state.folder, BEST)  # a killed process may not have come to it
    if from_main(_step_of(run / BEST)) == best.step:
        return []
    step = best.step
    best.restore(None)
    return [f"{BEST} is not of step {step}, the best so far: the next measurement replaces it"]


def _step_of(file: Path) -> int | None:
    """Return the step of a checkpoint; None if it cannot be read."""
    try:
        return int(load_checkpoint(file).facts["step"])
    except CheckpointError:
        return None


def _has_saved(run: Path, step: int, weights: Mapping[str, Tensor]) -> bool:
    """Tell whether checkpoint.safetensors is of this step, and whole; it may say more than it."""
    try:
        checkpoint = load_checkpoint(run)
        own = checkpoint.tensors()
    except CheckpointError:
        return False
    is_same = own.keys() == weights.keys() and all(torch.equal(own[n], weights[n]) for n in own)
    return is_same and checkpoint.facts.get("step") == step


def _under(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
