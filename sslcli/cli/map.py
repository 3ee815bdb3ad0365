"""`ssl map`: the embeddings of a data set as points in two dimensions."""

from typing import Annotated, Literal

from sslcli.cli import options


def map(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    part: Annotated[
        Literal["all", "train", "test"],
        options.data("--part", help="Which part, when the data has parts."),
    ] = "all",
    by: Annotated[
        Literal["pca", "tsne", "umap"],
        options.what("--by", help="The way down to two dimensions; umap needs its extra."),
    ] = "tsne",
    clusters: Annotated[
        int | None,
        options.what(
            "--clusters",
            min=1,
            metavar="N",
            help="Colour by N k-means clusters.",
            show_default="by class, if there are classes",
        ),
    ] = None,
    count: Annotated[
        int, options.what("--count", min=5, help="Rows at most, taken evenly.")
    ] = 5_000,
    out: Annotated[
        str | None,
        options.output(
            "--out",
            metavar="FILE",
            help="The PNG to write; the coordinates go beside it as .npz.",
            show_default="figures/map.png in the run",
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
    """Draw the embeddings of a data set as a map of points, coloured by class or by cluster.

    The trustworthiness says how far neighbours on the map are neighbours by cosine.

    ssl map runs/photos --data photos/ --clusters 20 --out photos.png
    """
    from sslcli.cli.show import Show
    from sslcli.workflows import map as workflow
    from sslcli.workflows.changes import laid_under, read_out
    from sslcli.workflows.run import load

    show = Show("map", as_json=json, quiet=quiet)
    run = load(
        ckpt, data=data, data_root=data_root, download=download, seed=seed,
        overrides=laid_under({"evaluation.features": read_out(None, tower)}, set_ or []),
        device=device, precision=precision, method=method, dry_run=dry_run, listener=show,
    )  # fmt: skip
    if dry_run:
        rows = len(workflow.rows_of(run, part, count))
        show.result(dry_run=True, rows=rows)
        return
    found = workflow.map(
        run, part=part, by=by, clusters=clusters, count=count, out=out, listener=show
    )
    metrics = {name: value for name, value in found.metrics().items() if value is not None}
    show.table("", ("metric", "value"), list(metrics.items()))
    show.result(
        path=str(found.path),
        coordinates=str(found.kept),
        figures=[str(found.path)],
        data={"source": found.data},
        metrics=found.metrics(),
        protocol=found.protocol,
        unreadable=found.unreadable,
    )
