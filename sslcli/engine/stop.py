"""Stop at the end of a step: on a signal, or when the time is up."""

import os
import signal
import time
from types import FrameType, TracebackType

from sslcli.environment import has_ended
from sslcli.errors import InterruptedRunError, StoppedError

# What processes vote on, by number; when they differ, the greatest counts.
REASONS = ("", "the time limit", "SIGUSR1", "SIGTERM", "Ctrl-C")


class Stop:
    """Note signals and the time limit; the loop asks `reason` after each step.

    The first Ctrl-C is noted and the run saves its state; a second one ends the process at once.

    Args:
        max_seconds: Time limit counted from now, in seconds; None for none.

    Attributes:
        again: The command line that goes on with the run.
    """

    def __init__(self, max_seconds: float | None = None) -> None:
        self._deadline = time.monotonic() + max_seconds if max_seconds is not None else None
        self.again = "the same command with --resume"
        self._signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Stop":
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if has_ended():  # another process failed, and this one may wait for it for ever
            os._exit(128 + number)
        if number == signal.SIGINT and self._signal == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)

    def reason(self) -> str:
        """Return why this process would stop now: one of `REASONS`."""
        if self._signal:
            return "Ctrl-C" if self._signal == signal.SIGINT else self._signal.name
        return "the time limit" if self._deadline and time.monotonic() >= self._deadline else ""

    def error(self, reason: str, step: int, run: str) -> StoppedError:
        """Return the error that ends the command once the state is saved."""
        kind = InterruptedRunError if reason == "Ctrl-C" else StoppedError
        return kind(
            f"stopped by {reason} after step {step}; the state is saved",
            run,
            f"go on with: {self.again}",
        )
