"""Show what is wrong with a data set."""

from collections.abc import Mapping
from dataclasses import asdict

from sslcli.cli.show import Show
from sslcli.data.sources.check import Report
from sslcli.errors import DataError
from sslcli.listener import warn_of

_MANY = 12  # rows of a table of classes or sizes that are shown


def show_report(report: Report, show: Show) -> None:
    """Print a report.

    Raises:
        DataError: With every error found, after all else was printed.
    """
    rows: list[tuple[str, object]] = [(report.kind, f"{report.count:,}")]
    rows.append(("fingerprint", report.fingerprint))
    if report.unlabelled:
        rows.append(("without a class", f"{report.unlabelled:,}"))
    rows += [(f"{part} part", f"{count:,}") for part, count in report.parts.items()]
    rows += (
        _most("class", report.classes) + _most("size", report.sizes) + _most("mode", report.modes)
    )
    rows += [
        ("unreadable", report.unreadable),
        ("repeated", report.duplicates),
        ("in train and test", report.overlap),
    ]
    show.table(report.name, ("what", "how many"), rows)
    for name in report.unreadable_files:
        show.note(f"unreadable: {name}")
    warn_of((each for each in report.findings if each.severity == "warning"), show)
    show.result(**asdict(report), ok=report.ok)
    errors = [DataError(r.what, r.where, r.hint) for r in report.findings if r.severity == "error"]
    if errors:
        first, *others = errors
        raise DataError(first.what, first.where, first.hint, others)


def _most(what: str, counts: Mapping[str, int]) -> list[tuple[str, object]]:
    """Return a row for each of the first few, and one for the rest."""
    rows: list[tuple[str, object]] = [(f"{what} {k}", f"{v:,}") for k, v in counts.items()]
    rest = len(rows) - _MANY
    return rows if rest <= 0 else [*rows[:_MANY], (f"{rest} more", "")]
