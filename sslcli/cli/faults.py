"""Turn any exception into a fault that says what, where and what to do, with its exit code."""

import errno
import re
import sys
import traceback
from difflib import get_close_matches

import typer

from sslcli.cli.words import as_typed, option
from sslcli.environment import World, world
from sslcli.errors import (
    CheckpointError,
    ConfigError,
    PeerError,
    ResourceError,
    SslError,
    StoppedError,
    UnhealthyError,
    UsageError,
)

# What all processes raise together, so that the first one tells it.
_SHARED = (StoppedError, UnhealthyError, UsageError, ConfigError, CheckpointError)
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


def as_fault(error: Exception) -> SslError:
    """Return an exception as a fault; an unforeseen exception is logged as an error of ours."""
    if isinstance(error, SslError):
        _name_options(error)
        return error
    if isinstance(error, typer.TyperException):
        return _usage_fault(error)
    summary = (str(error).splitlines() or [""])[0]
    if isinstance(error, MemoryError) or any(text in str(error).lower() for text in _NO_MEMORY):
        hint = "use a smaller train.batch_size, more train.accumulate, or a smaller encoder"
        return ResourceError(f"out of memory: {summary}".rstrip(": "), "", hint)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = str(error.filename or "")
        return ResourceError(f"the disk is full: {error.strerror}", where, "free some space")
    if type(error).__name__.startswith("Dist") or "gloo/" in str(error):
        hint = "if it told no fault of its own, it was killed; go on with --resume"
        return PeerError("another process of this training has gone", "", hint)
    from sslcli.cli.show import crash_log

    text = "".join(traceback.format_exception(error))
    return SslError(
        f"a fault of sslcli's own: {type(error).__name__}: {summary}",
        f"the whole story is in {crash_log(text)}",
        "please report it with that file",
    )


def tell(fault: SslError, *, command: str, as_json: bool) -> int:
    """Show a fault, unless another process of this training has told its own; return the exit code.

    A process among several does not return: it ends here, for what its threads wait for may never
    come.
    """
    from sslcli.cli.show import show_error

    here = _world()
    if here.size == 1:
        show_error(fault, command=command, as_json=as_json)
        return fault.exit_code
    from sslcli.distributed.launch import claim_fault, fault_told, leave, report_exit

    is_shared = here.rank > 0 and isinstance(fault, _SHARED)
    patience = 10.0 if is_shared else 5.0 if isinstance(fault, PeerError) else 0.0
    is_first, code = claim_fault(fault.exit_code, patience)
    if is_first:
        by = "" if isinstance(fault, _SHARED) else f"process {here.rank} of {here.size}"
        show_error(fault, command=command, as_json=as_json, by=by)
        report_exit(code)
        fault_told()
    leave(code)


def _world() -> World:
    try:
        return world()
    except UsageError:  # this is the fault to tell
        return World()


def _name_options(fault: SslError) -> None:
    """Write the arguments that a fault names as options: `k`, or k where it lies, as --k."""
    for each in fault.faults():
        parts = as_typed(each.where).split(", ")
        where = [part if part in sys.argv else option(part) or part for part in parts]
        each.where = ", ".join(where)
        each.what, each.hint = as_typed(each.what), as_typed(each.hint)


def _usage_fault(error: typer.TyperException) -> UsageError:
    """Return an error of the command line's parser as a fault of ours."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    command = context.command_path if context else "ssl"
    hint = f"see: {command} --help"
    what = error.format_message().rstrip(".")
    if not parameter or what.startswith("Missing"):
        return UsageError(what, "", hint)
    where = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
    what = error.message.removeprefix("Value error, ").rstrip(".")
    given, *choices = re.findall(r"'([^']*)'", what) or [""]
    close = get_close_matches(given, choices, n=1)
    return UsageError(what, str(where), f"did you mean {close[0]}?" if close else hint)
