"""Tables of `ssl sample-sgld`."""

from sslcli.cli.publish import Publisher
from sslcli.workflows.drawn import SampleResult


def publish(publisher: Publisher, result: SampleResult) -> None:
    """Print the tables, keep the record, then hold to the gates."""
    show, rows = publisher.show, [row.as_dict() for row in result.class_rows()]
    show.note(f"files: {', '.join(result.files)}")
    heads = [name for name in (rows[0] if rows else ()) if any(r[name] is not None for r in rows)]
    if rows:
        cells = [[row[name] for name in heads] for row in rows]
        show.table("", heads, [["" if cell is None else cell for cell in row] for row in cells])
    publisher.publish(
        result.metrics(), **result.plan.facts(), per_class=rows,
        judge=result.verdict.facts() if result.verdict else None, files=result.files,
        figures=[path for path in result.files if path.endswith(".png")],
    )  # fmt: skip
