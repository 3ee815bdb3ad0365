"""Say what went wrong, where, and what to do about it, with the exit code that scripts can test."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; scripts rely on them, so they never change meaning."""

    DONE = 0
    OUR_FAULT = 1
    WRONG_USE = 2
    DATA = 3
    RESOURCES = 4
    GATE_NOT_MET = 5
    UNHEALTHY = 6
    STOPPED = 75
    INTERRUPTED = 130


_LONGEST = 500


def _printable(text: str) -> str:
    """Escape what would steer a terminal and cut what nobody reads: files hold any name."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class SslError(Exception):
    """Report a fault that the user can act on.

    Args:
        what: What is wrong, in one sentence without a full stop.
        where: The file, field or option at fault.
        hint: What to do about it.
        others: Further faults found at the same time.
    """

    exit_code = ExitCode.OUR_FAULT

    def __init__(
        self, what: str, where: str = "", hint: str = "", others: Sequence["SslError"] = ()
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.hint = map(_printable, (what, where, hint))
        self.others = tuple(others)

    def faults(self) -> Sequence["SslError"]:
        """Return every fault that this error stands for, itself first."""
        return [self, *self.others]

    def moved(self, section: str, other: str) -> "SslError":
        """Return the same fault, whose fields of a section are those of another one."""
        fields = re.compile(rf"(?<![\w.]){section}\.(?=[a-z])")
        what, where, hint = (
            fields.sub(f"{other}.", text) for text in (self.what, self.where, self.hint)
        )
        return type(self)(what, where, hint, [each.moved(section, other) for each in self.others])


class UsageError(SslError):
    """Wrong options or an operation that does not apply."""

    exit_code = ExitCode.WRONG_USE


class ConfigError(SslError):
    """A preset, config file or override that does not validate."""

    exit_code = ExitCode.WRONG_USE


class CheckpointError(SslError):
    """A checkpoint or run directory that is missing, damaged or does not fit."""

    exit_code = ExitCode.WRONG_USE


class DataError(SslError):
    """Data that is missing, empty or unreadable."""

    exit_code = ExitCode.DATA


class ResourceError(SslError):
    """Not enough memory, disk or devices."""

    exit_code = ExitCode.RESOURCES


class PeerError(ResourceError):
    """Another process of the training failed or left; its own fault, if it told one, says why."""


class GateError(SslError):
    """A `--require` condition that the metrics do not meet."""

    exit_code = ExitCode.GATE_NOT_MET


class UnhealthyError(SslError):
    """Training that is non-finite, collapsed or diverged."""

    exit_code = ExitCode.UNHEALTHY


class StoppedError(SslError):
    """A run stopped by a signal or a time limit after its state was saved."""

    exit_code = ExitCode.STOPPED


class InterruptedRunError(StoppedError):
    """A run stopped by Ctrl-C after its state was saved."""

    exit_code = ExitCode.INTERRUPTED


@contextmanager
def told_of(section: str) -> Iterator[None]:
    """Let faults in the settings of an encoder name the section that these stand in."""
    try:
        yield
    except SslError as error:
        if section == "encoder":
            raise
        raise error.moved("encoder", section) from error
