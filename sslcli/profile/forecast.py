"""Foretell how long a training on the CPU will take, from a few of its images."""

import time

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from sslcli.data.batch import Batch
from sslcli.engine.device import autocast
from sslcli.engine.loop import Training
from sslcli.profile.preparing import StepRows, prepare, worker_processes

_FEWEST = 16  # images; BatchNorm in eight parts needs two for each
_LONG_ENOUGH = 0.5  # seconds, beside which the fixed cost of a call is small


def step_seconds(training: Training) -> float:
    """Return about how many seconds a step will take; the training stays as it is.

    Some images go forward and backward through the method on copies of its weights, twice as many
    each time, until a micro-batch is full or half a second is filled. The optimiser is not counted.

    Args:
        training: Of one process, on the CPU.
    """
    batch_size = training.config.train.batch_size
    micro_batch = batch_size // training.config.train.accumulate
    rows = StepRows(training)(0)[:1]  # [1, B]
    count = min(_FEWEST, micro_batch)
    with torch.random.fork_rng(devices=[]):
        _seconds(training, rows[:, :count])  # the first call chooses kernels
        seconds = _seconds(training, rows[:, :count])
        while seconds < _LONG_ENOUGH and count < micro_batch:
            count = min(2 * count, micro_batch)
            seconds = _seconds(training, rows[:, :count])
    return seconds * batch_size / count


def _seconds(training: Training, rows: np.ndarray) -> float:
    """Return the seconds of one micro-batch; workers prepare the next one meanwhile."""
    started = time.perf_counter()
    (batch,) = prepare(training, rows, _unheard)
    prepared = time.perf_counter()
    _pass(training, batch)
    network = time.perf_counter() - prepared
    workers = worker_processes(training)
    preparing = prepared - started
    return max(network, preparing / workers) if workers else network + preparing


def _pass(training: Training, batch: Batch) -> None:
    """Run forward and backward with copies of all weights and buffers."""
    method = training.method
    tensors = (*method.named_parameters(), *method.named_buffers())
    copies: dict[str, Tensor] = {
        name: tensor.detach().clone().requires_grad_(tensor.requires_grad)
        for name, tensor in tensors
    }
    with autocast(training.device, training.precision):
        output = functional_call(method, copies, (batch, training.progress))
    output.loss.backward()


def _unheard(name: str, times: float = 1.0) -> None:
    """Take no note of a phase."""
