"""The training loop of every method: call it, backward, step, tell it the step is done."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sslcli.config.schema import Config
from sslcli.data.batch import Batch
from sslcli.engine.accumulation import joined
from sslcli.engine.best import Best
from sslcli.engine.device import Precision, autocast, give_back_memory
from sslcli.engine.optim import clip_gradients
from sslcli.engine.schedule import set_rates
from sslcli.errors import ConfigError
from sslcli.methods.base import Method, Output, Progress


@runtime_checkable
class Loader(Protocol):
    """Batches of an epoch, in an order that depends on nothing but the seed and the epoch."""

    @property
    def bad(self) -> Mapping[int, str]:
        """Rows known to be unreadable, each with the reason."""

    @property
    def mode(self) -> str:
        """The way of the images to the device, in words."""

    @property
    def waited(self) -> float:
        """Seconds spent waiting for images to be decoded."""

    @property
    def remedy(self) -> str:
        """Advice for when that is too long."""

    @property
    def images(self) -> int:
        """Images of an epoch, over all processes."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on."""


@dataclass
class Training:
    """Everything that a step works on.

    Attributes:
        method: The method itself, whose hooks the loop calls.
        model: The method, compiled and wrapped for many processes; `forward` is called through it.
        optimizer: Made by `engine.optim.build_optimizer` from the method's groups.
        scaler: Scales the loss under fp16 and does nothing otherwise.
        loader: Batches of this process; `train.accumulate` of them make one step, and the rest at
            the end of an epoch makes the last one.
        config: The run's config.
        device: Where the tensors live.
        precision: "bf16", "fp16" or "fp32", resolved.
        step: Optimiser steps done.
        best: Follows what a probe measures; None without a probe.
    """

    method: Method
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    loader: Loader
    config: Config
    device: torch.device
    precision: Precision
    step: int = 0
    best: Best | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the data."""
        return ceil(len(self.loader) / self.config.train.accumulate)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.config.train.duration.steps(self.steps_per_epoch)

    @property
    def progress(self) -> Progress:
        """The position of the training in its run."""
        parts, seed = self.config.train.accumulate, self.config.seed
        return Progress(self.step, self.total_steps, self.steps_per_epoch, parts=parts, seed=seed)

    def seen(self, step: int) -> int:
        """Return how many images the first `step` steps show, over all processes."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return epochs * self.loader.images + rest * self.config.train.batch_size

    def check(self) -> None:
        """Raise ConfigError when the data cannot fill one step or the run has no step."""
        train = self.config.train
        if self.steps_per_epoch == 0:
            hint = "choose a smaller train.batch_size, or more data"
            what = f"the data cannot fill one batch of {train.batch_size}"
            raise ConfigError(what, "train.batch_size", hint)
        if self.total_steps == 0:
            raise ConfigError(
                f"{train.duration} is no step at all", "train.duration", "lengthen it"
            )
        warmup = self.config.schedule.warmup
        if warmup.steps(self.steps_per_epoch, self.total_steps) >= self.total_steps:
            what = f"a warm-up of {warmup} leaves nothing of a run of {train.duration}"
            raise ConfigError(what, "schedule.warmup", "write a share of the run, such as 5%")


class Parts:
    """The batches of one step, each made as it is taken, so that one lives at a time.

    Args:
        made: Yields this step's batches first, and then those of later steps.
        count: Batches of this step.
    """

    def __init__(self, made: Iterator[Batch], count: int) -> None:
        self._rest, self._count = islice(made, count), count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches that were not taken before."""
        return self._rest


@dataclass(frozen=True)
class StepResult:
    """The results of a step for the log; every tensor stays on the device.

    Attributes:
        loss: Mean loss over the step's samples on this process, scalar; its average over processes
            is that of the whole batch.
        output: The outputs of the step's parts, joined.
        grad_norm: Norm before clipping, scalar; None without clipping.
    """

    loss: Tensor
    output: Output
    grad_norm: Tensor | None


def train_step(training: Training, batches: Parts | Sequence[Batch]) -> StepResult:
    """Make one optimiser step from the mean loss over all samples of `batches`.

    It never waits for the device.
    """
    method, optimizer, scaler = training.method, training.optimizer, training.scaler
    progress = training.progress
    set_rates(
        optimizer, training.config, progress.step, progress.total_steps, progress.steps_per_epoch
    )
    optimizer.zero_grad(set_to_none=True)
    outputs, weights = [], []
    for index, batch in enumerate(batches):
        with _reducing(training.model, now=index + 1 == len(batches)):
            with autocast(training.device, training.precision):
                output = training.model(batch, replace(progress, part=index))
            loss = output.loss if batch.weight == 1 else output.loss * batch.weight
            scaler.scale(loss / len(batches)).backward()
        outputs.append(output)
        weights.append(batch.weight)
        if training.device.type == "cpu" and index + 1 < len(batches):
            give_back_memory()  # parts would leave holes upon holes
    scaler.unscale_(optimizer)
    method.before_step(progress)
    grad_norm = clip_gradients(method.parameters(), training.config.optimizer)
    scaler.step(optimizer)
    scaler.update()
    training.step += 1
    whole = joined(outputs, weights)
    with torch.no_grad():
        method.after_step(training.progress, whole.carry)
    return StepResult(whole.loss, whole, grad_norm)


def _reducing(model: nn.Module, *, now: bool) -> AbstractContextManager[None]:
    """Average gradients over processes in this backward pass, or leave it to a later one."""
    return (
        nullcontext() if now or not isinstance(model, DistributedDataParallel) else model.no_sync()
    )


def steps(training: Training) -> Iterator[Parts]:
    """Yield the batches of each step still to do, from the middle of an epoch if need be.

    Those that were not taken when the next step is asked for are passed over.
    """
    parts = training.config.train.accumulate
    while training.step < training.total_steps:
        epoch, done = divmod(training.step, training.steps_per_epoch)
        batches = training.loader.epoch(epoch, start=done * parts)
        left = len(training.loader) - done * parts
        for _ in range(min(training.steps_per_epoch - done, training.total_steps - training.step)):
            step = Parts(batches, min(parts, left))
            yield step
            deque(step, maxlen=0)
            left -= len(step)


def learning_rate(training: Training) -> float:
    """Return the rate of the first group that follows the schedule."""
    groups: list[dict[str, Any]] = training.optimizer.param_groups
    return float(next((g for g in groups if not g["constant_lr"]), groups[0])["lr"])
