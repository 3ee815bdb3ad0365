"""Add up the time in which nothing is done but wait for images."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Waiting:
    """Time how long whoever works on batches waits for them.

    A host that hands work to a GPU runs ahead of it, and waits for images while the GPU is busy. So
    on CUDA two events enclose the wait, the first behind all work given so far and the second
    behind the batch's copy: the time between them is the device's own, 0 as long as it has work.
    They are read when both have passed, and never waited for.

    Args:
        device: Who works.
        mark: Returns a moment on the device; an event is given for CUDA, a clock's time elsewhere.
    """

    def __init__(self, device: torch.device, mark: Callable[[], Any] | None = None) -> None:
        self._is_cuda = device.type == "cuda"
        self._mark = mark or (lambda: _event(device) if self._is_cuda else time.perf_counter())
        self._open: list[tuple[Any, Any]] = []
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Seconds waited so far, as far as the device has got."""
        while self._open and self._has_passed(self._open[0][1]):
            begin, end = self._open.pop(0)
            self._seconds += begin.elapsed_time(end) / 1e3 if self._is_cuda else end - begin
        return self._seconds

    def over(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield each batch, and count what it took to come."""
        begin = self._mark()
        for batch in batches:
            self._open.append((begin, self._mark()))
            yield batch
            begin = self._mark()

    def _has_passed(self, moment: Any) -> bool:
        return bool(moment.query()) if self._is_cuda else True


def _event(device: torch.device) -> torch.cuda.Event:
    """Return an event behind all work that the device's current stream has been given."""
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event
