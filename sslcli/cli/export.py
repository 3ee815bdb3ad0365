"""`ssl export`: the encoder in the format of another tool."""

from typing import Annotated, Literal

from sslcli.cli import options


def export(
    ckpt: options.Checkpoint,
    format_: Annotated[
        Literal["safetensors", "torchvision", "timm", "onnx", "pt2", "hf", "sentence-transformers"],
        options.what("--format", help="What the next tool reads."),
    ] = "safetensors",
    classifier: Annotated[
        bool,
        options.what(
            "--classifier",
            help="Export the classifier too, its logits calibrated if a calibrator is stored.",
        ),
    ] = False,
    tower: Annotated[
        Literal["image", "text"] | None,
        options.what(
            "--tower",
            help="Tower to export, with its projection, of a method with one of each.",
            show_default="the encoder",
        ),
    ] = None,
    method: options.Code = None,
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
    out: Annotated[
        str | None,
        options.run(
            "--out",
            metavar="FILE",
            help="Where to write.",
            show_default="encoder-FORMAT or classifier-FORMAT, beside CKPT",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the encoder in another tool's format, read it back and compare.

    With --classifier (onnx and pt2), logits come out instead of features; a temperature or vector
    scaling that ssl calibrate --store kept is folded into the last layer. With --tower
    (safetensors, onnx and pt2) a tower of CLIP or SigLIP is written with its projection.

    ssl export runs/simsiam-digits --format onnx
    """
    from dataclasses import asdict

    from sslcli.cli.show import Show
    from sslcli.config.section import NOUNS
    from sslcli.workflows import export as workflow

    show = Show("export", as_json=json, quiet=quiet)
    if dry_run:
        checkpoint = workflow.opened(
            ckpt, show, encoder=encoder, preset=preset, method=method, dry_run=True
        )
        what = workflow.What(format_, tower, classifier)
        path = workflow.planned(checkpoint, what, out, show)
        show.result(dry_run=True, format=format_, path=str(path))
        return
    report = workflow.export(
        ckpt, format=format_, classifier=classifier, tower=tower, method=method,
        encoder=encoder, preset=preset, out=out, overwrite=overwrite, listener=show,
    )  # fmt: skip
    rows = [
        ("file", report.path),
        ("bytes", f"{report.bytes:,}"),
        (f"{NOUNS[report.reads][1]} compared", report.compared),
        ("largest difference", f"{report.max_abs_error:.3g}"),
        ("tolerance", f"{report.tolerance:.3g}"),
    ]
    show.table("", ("export", format_), rows)
    for note in report.notes:
        show.note(note)
    calibrator = report.calibrator.facts() if report.calibrator else None
    show.result(**{**asdict(report), "path": str(report.path), "calibrator": calibrator})
