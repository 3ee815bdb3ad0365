"""Write a run's metrics to a file and tell them to its watchers."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslcli.config.duration import Duration
from sslcli.distributed.collective import from_all, from_main, is_main, mean
from sslcli.engine.boards import Board, numbers
from sslcli.engine.device import give_back_memory, wide
from sslcli.engine.guards import Guards
from sslcli.engine.loop import StepResult, Training, learning_rate
from sslcli.engine.run_directory import append_line, read_metrics, truncate_metrics
from sslcli.errors import SslError
from sslcli.listener import Watcher
from sslcli.methods.base import Method


@dataclass(frozen=True)
class Probe:
    """A measurement of the encoder that is made now and then, such as online kNN.

    Attributes:
        measure: Returns numbers for the log.
        every: How often.
    """

    measure: Callable[[Method], dict[str, float]]
    every: Duration


@dataclass
class _Row:
    """A row whose numbers are still being copied from the device."""

    plain: dict[str, Any]  # values that the host knows
    names: list[str]
    values: Tensor  # [len(names)] float64, in host memory once `arrived`
    arrived: torch.cuda.Event | None
    chance: float | None


class Log:
    """Average the loss between rows, and write each row when it has come from the device.

    Every image since the last row has the same weight in the loss, also in a smaller step. A row is
    a mean over all processes, and the first one writes it. Its numbers are copied while the next
    step runs, so no step waits for them; on the CPU they are there at once.

    Args:
        file: metrics.jsonl, to which rows are appended.
        watcher: Is told of every row.
        boards: Other loggers by name, which are told of every row, too.

    Attributes:
        last: The newest value of every metric.
        extra: Values that go into every row from now on.
        measured: What the last probe has found; empty if it failed.
    """

    def __init__(
        self, file: Path, watcher: Watcher, boards: Mapping[Any, Board] | None = None
    ) -> None:
        self._file, self._watcher, self._boards = file, watcher, dict(boards or {})
        self._sum: Tensor | None = None
        self._images = 0  # since the last row
        self._mark = time.perf_counter()
        self._waited = 0.0
        self._row: _Row | None = None
        self._guards: Guards | None = None
        self._named: dict[int, str] = {}
        self._said: set[str] = set()
        self.last: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}
        self.measured: dict[str, float] = {}

    def start_again(self, step: int, note: str) -> None:
        """Forget the rows after the step that the run has gone back to, and say why."""
        self._sum, self._images, self._row, self._guards = None, 0, None, None
        self.last = {}
        if is_main():
            truncate_metrics(self._file, step)
        self._watcher.warn(note)

    def add(self, training: Training, result: StepResult) -> None:
        """Take one step's loss without waiting for the device."""
        self.settle()
        images = training.seen(training.step) - training.seen(training.step - 1)
        batches = images / training.config.train.batch_size  # 1 unless the step is a smaller one
        loss = result.loss if batches == 1 else result.loss * batches
        self._sum = loss if self._sum is None else self._sum + loss
        self._images += images
        self._watcher.step(training.step)

    def row(
        self,
        training: Training,
        result: StepResult,
        probe: Probe | None = None,
        *,
        saving: bool = False,
    ) -> None:
        """Begin a row about the steps since the last one; `settle` writes it.

        Args:
            training: What is trained.
            result: The last step's.
            probe: Measures the encoder for this row on the first process.
            saving: Whether a state is to be saved; all of it is then judged, not only the weights.
        """
        assert self._sum is not None, "a row tells of at least one step"
        batches = self._images / training.config.train.batch_size
        tensors = {"loss": self._sum / batches, **result.output.metrics}
        if result.grad_norm is not None:
            tensors["grad_norm"] = result.grad_norm
        tensors["weights_finite"] = _finite(
            _saved(training) if saving else training.method.parameters()
        )
        tensors |= result.output.spread()
        values = mean(torch.stack([wide(value.detach()) for value in tensors.values()]))
        plain = {"step": training.step, "epoch": round(training.progress.epoch, 4)}
        plain |= {"lr": learning_rate(training), **self._pace(training)}
        plain["data_wait"] = self._exchange(training, plain["data_wait"])
        self._guards = self._guards or self._guard(training)
        host, arrived = _on_its_way(values)
        self._row = _Row(plain, list(tensors), host, arrived, result.output.chance)
        self._sum, self._images = None, 0
        if probe:
            self.pause()
            self.measured = self._measure(probe, training.method) if is_main() else {}
            self._row.plain |= self.measured
            self.go_on()

    def settle(self) -> None:
        """Write the row that was begun, if any, and judge the run by it.

        Raises:
            UnhealthyError: See `guards.Guards`.
        """
        if not self._row or not self._guards:
            return
        row, self._row = self._row, None
        if row.arrived:
            row.arrived.synchronize()
        values = dict(zip(row.names, row.values.tolist(), strict=True))
        finite = values.pop("weights_finite") == 1
        loss = values.pop("loss")
        written = {"step": row.plain.pop("step"), "epoch": row.plain.pop("epoch"), "loss": loss}
        self.write(written | row.plain | values | self.extra)
        self._guards.check(self.last | {"weights_finite": finite}, row.chance)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append a row that must have "step", and show it."""
        self.last |= values
        if not is_main():
            return
        append_line(self._file, values)
        self._watcher.metrics(values)
        for name, board in list(self._boards.items()):
            try:
                board.write(numbers(values), values["step"])
            except Exception as error:  # any error of the disk or of the logger
                del self._boards[name]
                self._note_once(f"{name} gets no more rows: {_in_a_line(error)}")

    def close(self) -> None:
        """Let the other loggers put on the disk what is not there yet."""
        for name, board in self._boards.items():
            try:
                board.close()
            except Exception as error:  # as above
                self._watcher.warn(f"{name} may lack the last rows: {_in_a_line(error)}")

    def warn(self, text: str) -> None:
        """Show one line that must not be missed."""
        self._watcher.warn(text)

    def _measure(self, probe: Probe, method: Method) -> dict[str, float]:
        """Return what a probe measures; if it fails, the run goes on without its numbers."""
        give_back_memory()
        try:
            return probe.measure(method)
        except Exception as error:  # it runs a whole evaluation, on data that may have faults
            self._note_once(f"the encoder could not be measured: {_in_a_line(error)}")
            return {}
        finally:
            give_back_memory()

    def _note_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._watcher.warn(f"{text}; training goes on")

    def pause(self) -> None:
        """Leave the time since the last step out of the rate, such as that of a save."""
        self._paused = time.perf_counter()

    def go_on(self) -> None:
        """End what `pause` began."""
        self._mark += time.perf_counter() - self._paused

    def _guard(self, training: Training) -> Guards:
        """Return guards that know the rows which the run has logged, also before it was resumed."""
        loader = training.loader
        history = read_metrics(self._file, training.step - 1) if is_main() else []
        return Guards(
            training.config,
            training.precision,
            lambda: loader.remedy,
            self._watcher.warn,
            from_main(history),
            training.method.alarms,
        )

    def _pace(self, training: Training) -> dict[str, float]:
        """Return the rate since the last row, and the share of time spent waiting for images."""
        now, waited = time.perf_counter(), training.loader.waited
        seconds = max(now - self._mark, 1e-9)
        waiting, self._mark, self._waited = waited - self._waited, now, waited
        return {
            "images_per_second": round(self._images / seconds, 1),
            "data_wait": round(min(1.0, waiting / seconds), 3),
        }

    def _exchange(self, training: Training, waited: float) -> float:
        """Name each unreadable image of any process once; return the longest wait."""
        found = {row: why for row, why in training.loader.bad.items() if row not in self._named}
        told = from_all((found, waited))
        for met, _ in told:
            for row, why in met.items():
                if row not in self._named:
                    self._named[row] = why
                    text = f"unreadable image, another stands in for it: {why}"
                    self._watcher.warn(text)
        return max(wait for _, wait in told)


def _in_a_line(error: Exception) -> str:
    if isinstance(error, SslError):
        return f"{error.what} ({error.where})" if error.where else error.what
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _on_its_way(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start copying values to host memory; return where they arrive, and when."""
    if values.device.type != "cuda":
        return values, None
    host = torch.empty_like(values, device="cpu", pin_memory=True)
    host.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return host, arrived


def _finite(tensors: Iterable[Tensor]) -> Tensor:
    """Return 1 if every number is finite, else 0: weights may be not finite after a finite loss."""
    found = [each.detach() for each in tensors if each.is_floating_point() and each.numel()]
    largest = torch._foreach_norm(found, ord=math.inf)
    return torch.stack([wide(each.to(found[0].device)) for each in largest]).isfinite().all()


def _saved(training: Training) -> Iterator[Tensor]:
    """Yield the tensors of a state: weights, buffers, what differs per process, the optimiser's."""
    yield from training.method.state_dict().values()
    yield from training.method.local_state().values()
    for entries in training.optimizer.state.values():
        yield from (value for value in entries.values() if isinstance(value, Tensor))
