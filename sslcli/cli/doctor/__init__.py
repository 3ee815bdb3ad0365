"""`ssl doctor`: report what is installed, and what would cause trouble on this machine."""

from typing import TYPE_CHECKING

from sslcli.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sslcli.cli.doctor.checkup import Check, Finding


def doctor(
    data: options.Data = None,
    data_root: options.DataRoot = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what is installed and what would bite on this machine; change nothing.

    Exits with 4 when something keeps ssl from working, and with 3 when that is the data alone.

    ssl doctor --data photos/
    """
    from dataclasses import asdict

    from sslcli.cli.doctor.checkup import checkup
    from sslcli.cli.show import Show

    show = Show("doctor", as_json=json, quiet=quiet)
    _need_folder()
    findings = checkup(_checks(data, data_root or "data"))
    rows = [(each.check, each.state, each.found, each.advice) for each in findings]
    show.table("", ("check", "state", "found", "what to do"), rows)
    states = [each.state for each in findings]
    counts = {state: states.count(state) for state in ("ok", "note", "warning", "fault")}
    show.note(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    show.result(checks=[asdict(each) for each in findings], counts=counts, ok=not counts["fault"])
    _raise_faults([each for each in findings if each.state == "fault"])


def _need_folder() -> None:
    """Raise ResourceError where the current folder is gone: torch's libraries end the process."""
    import os

    from sslcli.errors import ResourceError

    try:
        os.getcwd()
    except FileNotFoundError as error:
        hint = "cd to one that exists"
        raise ResourceError("the current folder was deleted", "", hint) from error


def _checks(data: str | None, root: str) -> "Sequence[tuple[str, Check]]":
    """Return every check with its name; those of the data only when it is given."""
    from functools import partial

    from sslcli.cli.doctor import environment as surroundings
    from sslcli.cli.doctor import machine
    from sslcli.cli.doctor import software as installed

    checks: list[tuple[str, Check]] = [
        ("python", installed.python),
        ("torch", installed.torch),
        ("system", machine.system),
        ("dependencies", installed.dependencies),
        ("extras", installed.extras),
        ("cuda", machine.gpu),
        ("precision", machine.precision),
        ("cores", machine.cores),
        ("memory", machine.memory),
        ("shared memory", machine.shared_memory),
        ("open files", machine.open_files),
        ("disk", machine.disk),
        ("cache", machine.cache),
        ("processes", surroundings.processes),
        ("host name", surroundings.host_name),
        ("environment", surroundings.environment),
        ("current folder", installed.shadows),
    ]
    return [*checks, ("data", partial(_data, data, root))] if data else checks


def _data(data: str, root: str) -> "Iterator[Finding]":
    """Open the data and read its first row."""
    from sslcli.cli.doctor.checkup import Finding
    from sslcli.data.sources.base import noun
    from sslcli.data.sources.open import open_source
    from sslcli.errors import DataError

    try:
        source = open_source(data, part=None, root=root)
        _, _, size = source.examine(0)
    except DataError as error:
        found = f"{error.where}: {error.what}" if error.where else error.what
        yield Finding("data", "fault", found, error.hint or f"ssl data check {data}")
        return
    labels = f"{len(source.class_names)} classes" if source.labels is not None else "no labels"
    found = f"{source.name}: {len(source):,} {noun(source)}, {labels}"
    found += f", the first {size}" if size else ""
    yield Finding("data", "ok", found, f"ssl data check {data} reads all of it")
    for oddity in source.oddities:
        yield Finding("data", "warning", f"{oddity.where}: {oddity.what}", oddity.hint)


def _raise_faults(faults: "Sequence[Finding]") -> None:
    """Raise every fault found, after all else was printed."""
    from sslcli.errors import DataError, ResourceError

    if not faults:
        return
    kind = DataError if all(each.check == "data" for each in faults) else ResourceError
    first, *others = [kind(each.found, each.check, each.advice) for each in faults]
    raise kind(first.what, first.where, first.hint, others)
