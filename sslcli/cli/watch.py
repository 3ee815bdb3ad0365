"""Show a run while it goes on: a live line on a terminal, a plain line now and then elsewhere."""

import atexit
import time
from collections.abc import Mapping
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from sslcli.cli.show import Show

PLAIN_EVERY_SECONDS = 10.0
_RATES = {"images": "img/s"}  # short where the line is long
_SHOWN = {
    "loss": "loss",
    "embedding_std": "std",
    "effective_rank": "rank",
    "online_knn_top1": "kNN",
    "online_linear_top1": "linear",
    "online_rank": "slice's rank",
    "train_top1": "top1",
    "contrast_top1": "top1",
    "instance_top1": "top1",
    "grad_norm": "grad",
}


class RunWatcher:
    """Follow one training run; use as a context manager.

    Args:
        show: The command's streams; nothing is shown when it is quiet.
        total_steps: Steps of the whole run.
        first_step: Step the run goes on from.
        steps_per_epoch: Steps of one pass over the data.
        rows: The word for what a step is made of.
    """

    def __init__(
        self,
        show: Show,
        total_steps: int,
        first_step: int,
        steps_per_epoch: int,
        rows: str = "images",
    ) -> None:
        self._show, self._total, self._first = show, total_steps, first_step
        self._rate = _RATES.get(rows, f"{rows}/s")
        self._per_epoch = steps_per_epoch
        self._values: dict[str, Any] = {}
        self._started = self._told = time.monotonic()
        self._live: Progress | None = None
        if show.err.is_terminal and not show.quiet:
            self._live = Progress(
                BarColumn(bar_width=16, table_column=Column(min_width=8)),
                TimeRemainingColumn(compact=True, table_column=Column(min_width=5)),
                TextColumn("{task.fields[status]}", table_column=Column(overflow="fold")),
                console=show.err,
                speed_estimate_period=120,
            )
            self._task = self._live.add_task(
                "train", total=total_steps, completed=first_step, status=""
            )

    def __enter__(self) -> "RunWatcher":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def step(self, step: int) -> None:
        """Move the bar."""
        if self._live:
            self._live.update(self._task, completed=step, status=self._status(step))

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Take in new numbers; off a terminal, print a line when one is due."""
        self._values |= row
        now, step = time.monotonic(), int(row["step"])
        if self._live or (now - self._told < PLAIN_EVERY_SECONDS and step < self._total):
            return
        self._told = now
        done = max(1, step - self._first)
        left = (now - self._started) / done * (self._total - step)
        self._show.note(f"{self._status(step)}  left {duration(left)}")

    def warn(self, text: str) -> None:
        """Print a warning without breaking the bar, even when quiet."""
        self._show.warn(text)

    def _status(self, step: int) -> str:
        parts = [f"step {step}/{self._total}", f"epoch {step / self._per_epoch:.2f}"]
        if rate := self._values.get("images_per_second"):
            parts.append(f"{rate:.0f} {self._rate}")
        shown = ((label, self._values.get(name)) for name, label in _SHOWN.items())
        parts += [f"{label} {value:.4g}" for label, value in shown if value is not None]
        return "  ".join(parts)


class WorkBar:
    """A progress callback `(done, total)` for work that is no training, such as decoding."""

    def __init__(self, show: Show, what: str) -> None:
        self._show, self._what = show, what
        self._live: Progress | None = None
        self._started = self._told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` is done."""
        if self._show.quiet:
            return
        if self._show.err.is_terminal:
            self._move(done, total)
        elif time.monotonic() - self._told > PLAIN_EVERY_SECONDS:
            self._told = time.monotonic()
            left = (self._told - self._started) * (total / max(1, done) - 1)
            self._show.note(f"{self._what} {done:,} of {total:,}, {duration(left)} left")

    def _move(self, done: int, total: int) -> None:
        if not self._live:
            self._live = Progress(console=self._show.err, transient=True)
            self._task = self._live.add_task(self._what, total=total)
            self._live.start()
            atexit.register(self._live.stop)  # a fault must not leave the cursor hidden
        self._live.update(self._task, completed=done, total=total)
        if done >= total:
            self._live.stop()
            self._live = None


def duration(seconds: float) -> str:
    """Return seconds as 45s, 3m12s or 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
