"""Show what is wrong with a data set."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sslcli.cli.show import Show
from sslcli.data.sources.check import Report
from sslcli.errors import DataError
from sslcli.listener import warn_of

if TYPE_CHECKING:
    from sslcli.workflows.look_alikes import LookAlikes
    from sslcli.workflows.run import Run

_MANY = 12  # rows of a table of classes or sizes that are shown


def add_look_alikes(
    report: Report, run: "Run", *, test: str | None, similarity: float | None, out: str | None
) -> "LookAlikes":
    """Compare the rows of the checked data by a network, and warn in the report of what is found.

    Args:
        report: Gets the warnings, and how many captions the network would cut.
        run: The network, opened on the data.
        test: Further data that is test data.
        similarity: The cosine from which a pair counts.
        out: A PNG to draw.
    """
    from sslcli.workflows.look_alikes import look_alikes
    from sslcli.workflows.sentences import cut_captions

    if report.captions and (cut := cut_captions(run)) is not None:
        report.captions["cut"], longest = cut
        if report.captions["cut"]:
            what = f"{report.captions['cut']:,} captions are longer than {longest} tokens"
            report.warn(what, report.name, f"{run.checkpoint.path} cuts them there")
    found = look_alikes(run, test=test, similarity=similarity, out=out)
    counts = found.counts()
    if leaks := counts["train/test leaks"]:
        hint = "accuracy on the test part would be too high; remove them from one part"
        first = next(pair for pair in found.pairs if pair.leak)
        where = f"{first.first} and {first.second}"
        report.warn(f"{leaks} pairs of look-alikes are in training and test data", where, hint)
    if conflicts := counts["pairs of different classes"]:
        first = next(pair for pair in found.pairs if pair.conflict)
        where = f"{first.first} and {first.second}"
        report.warn(f"{conflicts} pairs of look-alikes have different classes", where)
    return found


def show_report(report: Report, show: Show, found: "LookAlikes | None" = None) -> None:
    """Print a report, and what a network has found beside it.

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
    words = {"count": "captions", "equal": "of another image too", "cut": "cut", "longest": "words"}
    rows += [(words[name], f"{n:,}") for name, n in report.captions.items()]
    if found:
        rows += [("compared", f"{found.n:,}"), *found.counts().items()]
    show.table(report.name, ("what", "how many"), rows)
    if found:
        _show_look_alikes(found, show)
    for name in report.unreadable_files:
        show.note(f"unreadable: {name}")
    warn_of((each for each in report.findings if each.severity == "warning"), show)
    own = {"look_alikes": {**asdict(found), "counts": found.counts()}} if found else {}
    show.result(**_record(report), ok=report.ok, **own)
    errors = [DataError(r.what, r.where, r.hint) for r in report.findings if r.severity == "error"]
    if errors:
        first, *others = errors
        raise DataError(first.what, first.where, first.hint, others)


def _show_look_alikes(found: "LookAlikes", show: Show) -> None:
    """Print the first pairs and outliers."""
    show.note(f"near duplicates: {found.pair_rule}")
    show.note(f"outliers: {found.outlier_rule}")
    named = {"exact": "same", "leak": "leak", "conflict": "classes differ"}
    pairs = [
        (
            pair.similarity,
            ", ".join(word for name, word in named.items() if getattr(pair, name)),
            pair.first,
            pair.second,
        )
        for pair in found.pairs[:_MANY]
    ]
    if pairs:
        show.table("", ("similarity", "kind", "first", "second"), pairs)
    far = [(each.distance, each.item) for each in found.outliers[:_MANY]]
    if far:
        show.table("", ("distance", "outlier"), far)


def _record(report: Report) -> dict[str, Any]:
    """Return a report's fields, with what evaluations tell too under their keys."""
    fields = asdict(report)
    count, files = fields.pop("unreadable"), fields.pop("unreadable_files")
    unreadable = {report.name: {"count": count, "of": report.count, "files": files}}
    source = {"source": fields.pop("name")}
    return {"data": source, "unreadable": unreadable if count else {}, **fields}


def _most(what: str, counts: Mapping[str, int]) -> list[tuple[str, object]]:
    """Return a row for each of the first few, and one for the rest."""
    rows: list[tuple[str, object]] = [(f"{what} {k}", f"{v:,}") for k, v in counts.items()]
    rest = len(rows) - _MANY
    return rows if rest <= 0 else [*rows[:_MANY], (f"{rest} more", "")]
