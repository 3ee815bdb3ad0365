"""`ssl embed`: features of any images, for the next tool."""

from typing import Annotated, Literal

from typer import Option

from sslcli.cli import options


def embed(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    out: Annotated[
        str,
        Option(
            "--out",
            metavar="FILE",
            help="Where to write, ending in .npz or .parquet.",
            rich_help_panel=options.RUN,
        ),
    ] = "features.npz",
    part: Annotated[
        Literal["all", "train", "test"],
        Option("--part", help="Which part, when the data has parts.", rich_help_panel=options.DATA),
    ] = "all",
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
    from sslcli.cli.embedding import write_embeddings
    from sslcli.cli.evaluation import DataChoice
    from sslcli.cli.show import Show

    show = Show("embed", as_json=json, quiet=quiet)
    choice = DataChoice(data, None, data_root, download)
    write_embeddings(
        ckpt, choice, out, part, show, set_=set_ or [], device=device, precision=precision,
        overwrite=overwrite, dry_run=dry_run,
    )  # fmt: skip
