"""`ssl neighbours`: the nearest images or sentences of some that are asked about."""

from typing import TYPE_CHECKING, Annotated

from sslcli.cli import options

if TYPE_CHECKING:
    from sslcli.cli.show import Show
    from sslcli.workflows.neighbours_result import NeighboursResult


def neighbours(
    ckpt: options.Checkpoint,
    query: Annotated[
        list[str] | None,
        options.what(
            "--query",
            metavar="F",
            help="An image, a folder or other data; of an encoder of texts a text file or a "
            "sentence. Repeatable.",
            show_default="rows of the test part",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        options.what(
            "--text",
            metavar="SENTENCE",
            help="Find images by a sentence, of a method with both towers. Repeatable.",
        ),
    ] = None,
    data: options.Data = None,
    test: options.Test = None,
    k: Annotated[int, options.what("--k", min=1, help="Neighbours of each query.")] = 10,
    count: Annotated[
        int,
        options.what(
            "--count", min=1, help="Queries drawn by the seed, where a data set holds more."
        ),
    ] = 16,
    baseline: Annotated[
        bool,
        options.what("--baseline", help="Also search by the untrained encoder and raw pixels."),
    ] = False,
    out: Annotated[
        str | None,
        options.output(
            "--out",
            metavar="FILE",
            help="The PNG to write.",
            show_default="figures/neighbours.png in the run",
        ),
    ] = None,
    tower: options.Tower = None,
    method: options.Code = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the nearest images of each query by the cosine of features, and draw them in a grid.

    Without --query, rows of the test part are asked about among the training part. Queries of
    your own are asked about among all of the data. Sentences are listed, not drawn.

    ssl neighbours runs/photos --query cat.jpg --query new-photos/ --out cats.png
    """
    from sslcli.cli.show import Show
    from sslcli.workflows import neighbours as workflow
    from sslcli.workflows.changes import laid_under
    from sslcli.workflows.run import load

    show = Show("neighbours", as_json=json, quiet=quiet)
    changes = {"evaluation.features": workflow.searched_by(text or (), query, tower)}
    run = load(
        ckpt, data=data, test=test, data_root=data_root, download=download,
        overrides=laid_under(changes, set_ or []), seed=seed, device=device,
        precision=precision, method=method, dry_run=dry_run, listener=show,
    )  # fmt: skip
    if dry_run:
        asked, searched = workflow.parts(run, query, count, text or ())
        counts = {"asked": sum(map(len, asked)), "searched": len(searched)}
        show.table("", ("part", "rows to encode"), list(counts.items()))
        show.result(dry_run=True, rows=counts)
        return
    found = workflow.neighbours(
        run,
        query=query,
        text=text or (),
        k=k,
        count=count,
        baseline=baseline,
        out=out,
        listener=show,
    )
    _publish(found, show)


def _publish(found: "NeighboursResult", show: "Show") -> None:
    """Print a line a neighbour, or all of it as JSON."""
    from dataclasses import asdict

    rows = [
        (by, query.item, rank, near.similarity, near.label or "", near.item)
        for by, queries in found.by().items()
        for query in queries
        for rank, near in enumerate(query.neighbours, 1)
    ]
    show.table("", ("by", "query", "rank", "similarity", "class", "neighbour"), rows)
    metrics = {name: value for name, value in found.metrics().items() if value is not None}
    if metrics:
        show.table("", ("metric", "value"), list(metrics.items()))
    show.note(f"protocol: {found.protocol}")
    by = {name: [asdict(query) for query in queries] for name, queries in found.by().items()}
    show.result(
        path=found.path and str(found.path),
        figures=[str(found.path)] if found.path else [],
        data={"searched": found.searched, "n": found.n},
        metrics=found.metrics(),
        protocol=found.protocol,
        neighbours=by,
        unreadable=found.unreadable,
    )
