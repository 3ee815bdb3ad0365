"""Stop a training at the end of a step, on a signal or when its time is up."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType

from sslcli.environment import has_ended
from sslcli.errors import InterruptedRunError, StoppedError, UsageError

# Processes vote on the number of a reason; when votes differ, the greatest counts.
REASONS = ("", "the time limit", "SIGUSR1", "SIGTERM", "Ctrl-C")

# Windows has no SIGUSR1.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT")
            if hasattr(signal, name)]  # fmt: skip

_TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds(limit: str | float | None) -> float | None:
    """Return the seconds of a time limit, written as 3h55m, 90s or 1d, or already a number.

    Raises:
        UsageError: If it is no length of time.
    """
    if limit is None or not isinstance(limit, str):
        return limit
    match = _TIME.fullmatch(limit.strip())
    if not limit.strip() or not match:
        raise UsageError(f"{limit!r} is no length of time", "max_time", "write 3h55m, 45m or 90s")
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)


class Stop:
    """Note signals and the time limit; the loop asks `reason` after each step.

    The first Ctrl-C is noted and the run saves its state; a second one interrupts at once. Signals
    are noted within the context only, and only in the main thread, where Python delivers them.

    Args:
        max_seconds: Time limit counted from now, in seconds; None for none.
        again: Returns the command that resumes the run in a folder.
    """

    def __init__(
        self,
        max_seconds: float | None = None,
        again: Callable[[str], str] = lambda run: "the same call with resume=True",
    ) -> None:
        self._deadline = time.monotonic() + max_seconds if max_seconds is not None else None
        self._again = again
        self._signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not None:  # or it could not be put back
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
        """Return the error that ends the training once its state is saved."""
        kind = InterruptedRunError if reason == "Ctrl-C" else StoppedError
        return kind(
            f"stopped by {reason} after step {step}; the state is saved",
            run,
            f"go on with: {self._again(run)}",
        )
