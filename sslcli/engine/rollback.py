"""Go back to an earlier state when a run becomes unhealthy, as energy-based methods often do."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sslcli.distributed.collective import from_main, is_main, rank, wait
from sslcli.engine.log import Log, Probe
from sslcli.engine.loop import Training
from sslcli.engine.state import saved_states
from sslcli.engine.stop import Stop
from sslcli.engine.trainer import resume, train
from sslcli.errors import UnhealthyError


def train_with_rollbacks(
    training: Training,
    run: Path,
    facts: Mapping[str, Any],
    log: Log,
    stop: Stop,
    probe: Probe | None = None,
) -> dict[str, Any]:
    """Train as `trainer.train` does, but return to a saved state up to `train.rollbacks` times.

    The order of samples stays the same; noise and chains, which the method draws, are drawn anew. A
    run that fails again before it has saved goes back by one more state, as long as there is one.

    Raises:
        StoppedError: If it was told to stop; the state is saved.
        UnhealthyError: If it is unhealthy once too often, or before its first state.
    """
    limit, restored = training.config.train.rollbacks, None
    log.extra = {"rollbacks": 0} if limit else {}
    for count in range(limit + 1):
        try:
            return train(training, run, facts, log, stop, probe)
        except UnhealthyError as fault:
            states = from_main(saved_states(run))
            if count == limit or not states:
                raise _final(fault, count) from fault
            if states[-1] == restored and len(states) > 1 and is_main():
                shutil.rmtree(states[-1])
            wait()
            resume(training, run)
            restored = from_main(saved_states(run))[-1]
            torch.manual_seed(training.config.seed + (rank() << 32) + (count + 1 << 48))
            log.extra = {"rollbacks": count + 1}
            back = f"going back to step {training.step} with other noise"
            log.start_again(training.step, f"{fault.what}; {back} ({count + 1} of {limit})")
    raise AssertionError("the last round returns or raises")


def _final(fault: UnhealthyError, count: int) -> UnhealthyError:
    """Return the fault that ends the run, with how often it was tried again."""
    if not count:
        return fault
    times = "once" if count == 1 else f"{count} times"
    return UnhealthyError(f"{fault.what}, after going back {times}", fault.where, fault.hint)
