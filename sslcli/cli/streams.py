"""The standard streams: opened if the shell closed them; faults of stdout become errors."""

import io
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from sslcli.errors import ResourceError

_MODES = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)


T = TypeVar("T")


class LostOutputError(ResourceError):
    """Results that cannot be written to stdout."""


class Output(io.TextIOWrapper):
    """Stdout, whose faults name it; a reader that has gone is no fault."""

    def write(self, text: str) -> int:
        """Write text, raising LostOutputError when that cannot be done."""
        return _told(lambda: super(Output, self).write(text))

    def flush(self) -> None:
        """Write what is left, raising LostOutputError when that cannot be done."""
        _told(super().flush)


def _told(work: Callable[[], T]) -> T:
    try:
        return work()
    except BrokenPipeError:
        raise
    except OSError as error:
        what = f"the output cannot be written: {(error.strerror or str(error)).lower()}"
        hint = "free some space, or send it elsewhere"
        raise LostOutputError(what, "stdout", hint) from error


def open_streams() -> None:
    """Give this process all three streams, which can hold file names that are no text.

    A stream that the shell closed is opened on the null device. Otherwise the next file to be
    opened would get its number, and what a library prints would land in that file. Writing to a
    closed stdout is still an error.
    """
    for number, mode in enumerate(_MODES):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest free number
    sys.stdin = sys.stdin or io.TextIOWrapper(io.FileIO(0))
    sys.stderr = sys.stderr or io.TextIOWrapper(io.FileIO(2, "w"), "utf-8")
    if (stdout := sys.stdout) is None:
        sys.stdout = Output(io.BufferedWriter(io.FileIO(1, "w")), "utf-8")
    elif stdout is sys.__stdout__ and isinstance(stdout, io.TextIOWrapper):
        encoding, is_terminal = stdout.encoding, stdout.isatty()
        sys.stdout = Output(stdout.detach(), encoding, line_buffering=is_terminal)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence(*numbers: int) -> None:
    """Discard everything that is still written to these streams, even while Python shuts down."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in numbers:
        os.dup2(nowhere, number)
    os.close(nowhere)
