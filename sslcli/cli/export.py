"""`ssl export`: the encoder in the format of another tool."""

from typing import Annotated, Literal

from typer import Option

from sslcli.cli import options

WITH_CLASSIFIER = ("onnx", "pt2")  # whole programs; the others are weights of known encoders


def export(
    ckpt: options.Checkpoint,
    format_: Annotated[
        Literal["safetensors", "torchvision", "timm", "onnx", "pt2"],
        Option("--format", help="What the next tool reads.", rich_help_panel=options.WHAT),
    ] = "safetensors",
    classifier: Annotated[
        bool,
        Option(
            "--classifier",
            help="Export the classifier too, its logits calibrated if a calibrator is stored.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    out: Annotated[
        str | None,
        Option(
            "--out",
            metavar="FILE",
            help="Where to write.",
            show_default="encoder-FORMAT or classifier-FORMAT, beside CKPT",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the encoder in another tool's format, read it back and compare.

    With --classifier (onnx and pt2), logits come out instead of features; a temperature or vector
    scaling that ssl calibrate --store kept is folded into the last layer.

    ssl export runs/simsiam-digits --format onnx
    """
    from dataclasses import asdict

    from sslcli.cli.show import Show
    from sslcli.engine.checkpoint import load_checkpoint
    from sslcli.errors import UsageError
    from sslcli.formats import FORMATS

    show = Show("export", as_json=json, quiet=quiet)
    if classifier and format_ not in WITH_CLASSIFIER:
        hint = f"use --format {' or '.join(WITH_CLASSIFIER)}, or leave it out"
        raise UsageError(f"the format {format_} holds an encoder alone", "--classifier", hint)
    checkpoint = load_checkpoint(ckpt)
    config, what = checkpoint.config, "classifier" if classifier else "encoder"
    path = out or str(checkpoint.run / f"{what}-{format_}{FORMATS[format_]}")
    show.note(f"{config.encoder.name} of {checkpoint.path} as {format_} to {path}")
    if dry_run:
        show.result(dry_run=True, format=format_, path=path)
        return
    from sslcli.cli.exporting import export_meta, network_of
    from sslcli.formats import export_encoder

    meta = export_meta(checkpoint, classifier=classifier)
    network = network_of(checkpoint, classifier=classifier)
    if classifier:
        show.note(f"logits calibrated by {meta.calibrator or 'nothing: no calibrator is stored'}")
    report = export_encoder(format_, network, meta, path, overwrite=overwrite)
    rows = [
        ("file", report.path),
        ("bytes", f"{report.bytes:,}"),
        ("images compared", report.compared),
        ("largest difference", f"{report.max_abs_error:.3g}"),
        ("tolerance", f"{report.tolerance:.3g}"),
    ]
    show.table("", ("export", format_), rows)
    for note in report.notes:
        show.note(note)
    facts = {"calibrator": meta.calibrator or None} if classifier else {}
    show.result(**{**asdict(report), **facts, "path": str(report.path)})
