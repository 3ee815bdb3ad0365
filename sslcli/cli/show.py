"""Write to the terminal: results to stdout, talk and errors to stderr."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console

from sslcli.cli.tables import fitted
from sslcli.cli.words import as_typed
from sslcli.environment import versions, world
from sslcli.errors import SslError, UsageError
from sslcli.files import to_json
from sslcli.listener import Bar, Watcher

JSON_SCHEMA = 2


class Show:
    """The two streams of one command; of several processes only the first one shows anything.

    Args:
        command: The command's name, for the JSON object.
        as_json: Print one JSON object on stdout and nothing else there.
        quiet: Print no talk.
    """

    def __init__(self, command: str, *, as_json: bool = False, quiet: bool = False) -> None:
        self.is_muted = _rank() > 0
        self.command, self.as_json, self.quiet = command, as_json, quiet or self.is_muted
        self.err = console(stderr=True)
        self.out = console(stderr=False)

    def note(self, text: str) -> None:
        """Say one line on stderr."""
        if not self.quiet:
            self.err.print(as_typed(text), markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Say one line on stderr even when quiet."""
        if self.is_muted:
            return
        text = f"warning: {as_typed(text)}"
        self.err.print(text, markup=False, highlight=False, soft_wrap=True)

    def bar(self, what: str) -> Bar:
        """Return a progress bar for a piece of work."""
        from sslcli.cli.watch import WorkBar

        return WorkBar(self, what)

    def watcher(
        self, total_steps: int, first_step: int, steps_per_epoch: int, *, rows: str = "images"
    ) -> AbstractContextManager[Watcher]:
        """Return the display of a training run; a context manager."""
        from sslcli.cli.watch import RunWatcher

        return RunWatcher(self, total_steps, first_step, steps_per_epoch, rows)

    def data(self, text: str) -> None:
        """Print text on stdout, unless the JSON object will be all of it."""
        if not self.as_json and not self.is_muted:
            sys.stdout.write(f"{text}\n")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table on stdout; tab-separated lines when stdout is no terminal."""
        if self.as_json or self.is_muted:
            return
        cells = [tuple(map(cell, row)) for row in rows]
        if self.out.is_terminal:
            self.out.print(fitted(title, columns, cells, self.out.width), markup=False)
            return
        for row in (columns, *cells):
            self.data("\t".join(row))

    def result(self, **fields: Any) -> None:
        """Print the JSON object, when that was asked for."""
        if self.as_json and not self.is_muted:
            print_json(self.record(**fields))

    def record(self, **fields: Any) -> dict[str, Any]:
        """Return the JSON object: the schema, the command, its own fields, and the versions."""
        about = {"schema": JSON_SCHEMA, "command": self.command}
        return {**about, **fields, "versions": versions()}


def _rank() -> int:
    """Return this process's rank; 0 if the launcher's variables make no sense."""
    try:
        return world().rank
    except UsageError:
        return 0  # whoever trains says what is wrong with them


def console(*, stderr: bool) -> Console:
    """Return a console without colour or animation off a terminal or under NO_COLOR.

    FORCE_COLOR is ignored, so that output to a pipe keeps the form that scripts read.
    """
    plain = bool(os.environ.get("NO_COLOR"))
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty() and not plain
    return Console(stderr=stderr, no_color=plain, force_terminal=is_terminal, emoji=False)


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, float):
        if 0 < abs(value) < 1e-3:
            return f"{value:.2g}"
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"
    return str(value)


_printed_json = False


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout, and no second one: an error after a result is on stderr."""
    global _printed_json
    if not _printed_json:
        sys.stdout.write(f"{to_json(content)}\n")
        sys.stdout.flush()
    _printed_json = True


def show_error(error: SslError, *, command: str, as_json: bool, by: str = "") -> None:
    """Print every fault as error, where and hint on stderr, and as JSON on stdout if asked.

    Args:
        error: One fault or several.
        command: The command that failed; "" where none was named.
        as_json: Print JSON too.
        by: The one of several processes that failed.
    """
    err = console(stderr=True)
    if by:
        err.print(f"{by}:", highlight=False)
    for fault in error.faults():
        for label, text in (("error", fault.what), ("where", fault.where), ("hint", fault.hint)):
            if text:
                style = "bold red" if label == "error" else "dim"
                err.print(f"{label}:", style=style, end=" ", highlight=False)
                err.print(str(text), markup=False, highlight=False, soft_wrap=True)
    if as_json:
        faults = [{"error": f.what, "where": str(f.where), "hint": f.hint} for f in error.faults()]
        code = int(error.exit_code)
        print_json(Show(command).record(exit_code=code, errors=faults))


def crash_log(text: str) -> Path:
    """Keep a traceback where the user can find it and return the file's path."""
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix="sslcli-", suffix=".log")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return Path(name)
