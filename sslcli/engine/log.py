"""What a run tells while it goes on: metrics to a file and to whoever watches."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from sslcli.engine.loop import StepResult, Training, learning_rate
from sslcli.engine.run import append_line
from sslcli.errors import UnhealthyError
from sslcli.methods.base import Method

# A BatchNorm after the projection keeps embedding_std at 2 / sqrt(batch) when all samples but one
# have become the same, so a rank of hardly more than a line counts as collapse too.
COLLAPSED_STD, COLLAPSED_RANK = 0.05, 2.0
Probe = Callable[[Method], dict[str, float]]


@runtime_checkable
class Watcher(Protocol):
    """Shows a run to a person; see `cli.show` for the terminal's."""

    def step(self, step: int) -> None:
        """Take note of one more step; called often, must be cheap."""

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Show one row of metrics."""

    def note(self, text: str) -> None:
        """Show one line of text."""


class Log:
    """Average the loss between rows and read from the device once a row.

    Args:
        file: metrics.jsonl, to which rows are appended.
        watcher: Who is told.
        board: A TensorBoard writer, or None.
    """

    def __init__(self, file: Path, watcher: Watcher, board: Any = None) -> None:
        self._file, self._watcher, self._board = file, watcher, board
        self._sum: Tensor | None = None
        self._count = 0
        self._mark = time.perf_counter()
        self._warned = False
        self._named = 0
        self.last: dict[str, Any] = {}

    def add(self, training: Training, result: StepResult) -> None:
        """Take one step's loss without waiting for the device."""
        self._sum = result.loss if self._sum is None else self._sum + result.loss
        self._count += 1
        self._watcher.step(training.step)

    def row(self, training: Training, result: StepResult, probe: Probe | None = None) -> None:
        """Write a row about the steps since the last one.

        Args:
            training: What is trained.
            result: The last step's.
            probe: Measures the encoder for this row, such as by online kNN.

        Raises:
            UnhealthyError: If the loss or a weight is not finite, or embeddings collapsed and the
                run is to stop for that.
        """
        values: dict[str, Any] = {
            "step": training.step,
            "epoch": round(training.progress.epoch, 4),
            "loss": float(self._sum) / self._count if self._sum is not None else float("nan"),
            "lr": learning_rate(training),
            "images_per_second": self._rate(training),
        }
        if result.grad_norm is not None:
            values["grad_norm"] = float(result.grad_norm)
        values |= {name: float(value) for name, value in result.output.metrics.items()}
        is_sound = _finite(values["loss"]) and _is_finite(training.method)
        if is_sound:
            values |= {name: float(value) for name, value in result.output.spread().items()}
            values |= self._measure(probe, training) if probe else {}
        self._sum, self._count = None, 0
        self._name_unreadable(training)
        self.write(values)
        if not is_sound:
            raise _unsound(values, training)
        self._check_collapse(values, training)

    def _name_unreadable(self, training: Training) -> None:
        """Name each unreadable image once, when a worker has met it."""
        reasons = list(training.loader.bad.values())
        for reason in reasons[self._named :]:
            self._watcher.note(f"warning: unreadable image, another stands in for it: {reason}")
        self._named = len(reasons)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append a row that must have "step", and show it."""
        self.last |= values
        append_line(self._file, values)
        self._watcher.metrics(values)
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(name, value, values["step"])

    def pause(self) -> None:
        """Leave out of the rate the time spent since the last step, such as on a save."""
        self._paused = time.perf_counter()

    def go_on(self) -> None:
        """End what `pause` began."""
        self._mark += time.perf_counter() - self._paused

    def _measure(self, probe: Probe, training: Training) -> dict[str, float]:
        self.pause()
        measured = probe(training.method)
        self.go_on()
        return measured

    def _rate(self, training: Training) -> float:
        now = time.perf_counter()
        seconds, self._mark = now - self._mark, now
        return round(self._count * training.config.train.batch_size / max(seconds, 1e-9), 1)

    def _check_collapse(self, values: Mapping[str, Any], training: Training) -> None:
        std, effective = values.get("embedding_std"), values.get("effective_rank")
        if std is None or effective is None:
            return
        if std >= COLLAPSED_STD and effective >= COLLAPSED_RANK:
            return
        monitors = f"embedding_std {std:.4f}, effective_rank {effective:.2f}"
        what = f"the embeddings have collapsed to a point or a line ({monitors})"
        hint = "check the stop-gradient, predictor, rate and weight decay, or use more steps"
        if training.config.train.on_collapse == "stop":
            raise UnhealthyError(f"{what} at step {training.step}", "train.on_collapse", hint)
        if not self._warned:
            self._watcher.note(f"warning: {what} at step {training.step}; {hint}")
            self._warned = True


def _is_finite(method: Method) -> bool:
    """Return whether every weight is finite; a step may spoil them after a finite loss."""
    weights = [parameter.detach() for parameter in method.parameters()]
    return bool(torch.stack(torch._foreach_norm(weights)).isfinite().all())


def _unsound(values: Mapping[str, Any], training: Training) -> UnhealthyError:
    hint = f"lower optimizer.base_lr (the rate was {values['lr']:.3g}) or warm up for longer"
    if training.precision != "fp32":
        hint += ", or try --precision fp32"
    culprit = "weights" if _finite(values["loss"]) else f"loss ({values['loss']})"
    what = f"the {culprit} ceased to be finite by step {training.step}"
    return UnhealthyError(what, "", f"{hint}; a state that was saved before is intact")


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or abs(value) < float("inf")


def open_board(run: Path) -> Any:
    """Return a TensorBoard writer when the `log` extra is installed, else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  the extra is optional
    except ImportError:
        return None
    return SummaryWriter(str(run / "tensorboard"))
