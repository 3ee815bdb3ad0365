"""`ssl embed`: features of any images, for the next tool."""

from typing import Annotated, Literal

from sslcli.cli import options


def embed(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    out: Annotated[
        str,
        options.run("--out", metavar="FILE", help="Where to write, ending in .npz or .parquet."),
    ] = "features.npz",
    part: Annotated[
        Literal["all", "train", "test"],
        options.data("--part", help="Which part, when the data has parts."),
    ] = "all",
    tower: options.Tower = None,
    method: options.Code = None,
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
    set_: options.Set = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the encoder's features of every image, with rows, labels and class names.

    A checkpoint with a classifier adds its probabilities, calibrated if a calibrator is stored.

    ssl embed runs/photos --data photos/ --out photos.npz
    """
    from sslcli.cli.show import Show
    from sslcli.workflows import embed as workflow
    from sslcli.workflows.changes import laid_under, read_out
    from sslcli.workflows.run import load

    show = Show("embed", as_json=json, quiet=quiet)
    path = workflow.writable(out, overwrite=overwrite)
    run = load(
        ckpt, data=data, data_root=data_root, download=download, 
        overrides=laid_under({"evaluation.features": read_out(None, tower)}, set_ or []),
        device=device, precision=precision, method=method, encoder=encoder, preset=preset,
        dry_run=dry_run, listener=show,
    )  # fmt: skip
    if dry_run:
        images = len(workflow.images_of(run, part, path))
        show.result(dry_run=True, images={part: images}, path=str(path))
        return
    found = workflow.embed(run, out=out, part=part, overwrite=overwrite, listener=show)
    shapes = {name: "x".join(map(str, each.shape)) for name, each in found.arrays().items()}
    show.table("", ("array", "shape"), list(shapes.items()))
    show.result(
        path=str(path),
        data={"source": found.data},
        arrays=shapes,
        unreadable=found.unreadable,
    )
