"""`ssl export`: the encoder in the format of another tool."""

from typing import Annotated, Literal

from typer import Option

from sslcli.cli import options


def export(
    ckpt: options.Checkpoint,
    format_: Annotated[
        Literal["safetensors", "torchvision", "timm", "onnx", "pt2"],
        Option("--format", help="What the next tool reads.", rich_help_panel=options.WHAT),
    ] = "safetensors",
    out: Annotated[
        str | None,
        Option(
            "--out",
            metavar="FILE",
            help="Where to write.",
            show_default="encoder-FORMAT, beside CKPT",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the encoder in another tool's format, read it back and compare.

    ssl export runs/simsiam-digits --format onnx
    """
    from dataclasses import asdict

    from sslcli.cli.show import Show
    from sslcli.engine.checkpoint import load_checkpoint
    from sslcli.export import FORMATS

    show = Show("export", as_json=json, quiet=quiet)
    checkpoint = load_checkpoint(ckpt)
    config = checkpoint.config
    default = checkpoint.run / f"encoder-{format_}{FORMATS[format_]}"
    path = out or str(default)
    show.talk(f"{config.encoder.name} of {checkpoint.path} as {format_} to {path}")
    if dry_run:
        show.result(dry_run=True, format=format_, path=path)
        return
    import torch

    from sslcli.assemble import load_encoder
    from sslcli.export import ExportMeta, export_encoder

    encoder = load_encoder(checkpoint, torch.device("cpu"))
    data = config.data
    meta = ExportMeta(config.encoder, data.image_size, data.mean, data.std)
    report = export_encoder(format_, encoder, meta, path, overwrite=overwrite)
    rows = [
        ("file", report.path),
        ("bytes", f"{report.bytes:,}"),
        ("images compared", report.compared),
        ("largest difference", f"{report.max_abs_error:.3g}"),
        ("tolerance", f"{report.tolerance:.3g}"),
    ]
    show.table("", ("export", format_), rows)
    for note in report.notes:
        show.talk(note)
    show.result(**{**asdict(report), "path": str(report.path)})
