"""`ssl import`: weights that others trained, as a run that every evaluation takes."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument

from sslcli.cli import options

if TYPE_CHECKING:
    from sslcli.cli.show import Show
    from sslcli.workflows.import_weights import Imported


def import_weights(
    file: Annotated[
        str,
        Argument(
            metavar="FILE",
            help="A .pth, .pth.tar, .pt or .safetensors file, a Hugging Face folder, or "
            "hf:ORG/NAME.",
        ),
    ],
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
    key: Annotated[
        str | None,
        options.what(
            "--key",
            metavar="NAME",
            help="Take the network below this name in the file, such as student.",
            show_default="wherever it fits",
        ),
    ] = None,
    licence: Annotated[
        str | None, options.what("--licence", help="Licence of the weights, kept with them.")
    ] = None,
    set_: options.Set = None,
    out: Annotated[
        str | None,
        options.run("--out", metavar="RUN", help="Run directory.", show_default="runs/import-FILE"),
    ] = None,
    overwrite: options.Overwrite = False,
    download: Annotated[
        bool, options.data("--download", help="Allow a model of the hub to be fetched.")
    ] = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a run of weights that another code has saved; nothing in the file is executed.

    Torchvision, timm, MoCo, SimSiam, SwAV, DINO, SupContrast, lightly, solo-learn, VISSL, JEM and
    Hugging Face folders. The encoder is told by names and shapes; of heads only classifiers are
    kept, of networks trained with labels. Both towers of CLIP are kept, from open_clip's or
    transformers' names.

    ssl import dino_deitsmall16_pretrain.pth --out runs/dino
    """
    from sslcli.cli.show import Show
    from sslcli.workflows import import_weights as workflow

    show = Show("import", as_json=json, quiet=quiet)
    if dry_run:
        from sslcli.workflows.imported_config import Wish
        from sslcli.workflows.importing import prepare

        wish = Wish(encoder, preset, key or "", licence or "", set_ or [])
        place = workflow.planned(file, wish, out, overwrite=overwrite, download=download)
        found = workflow.summary(prepare(file, wish, show, download=download), place)
    else:
        found = workflow.import_weights(
            file, encoder=encoder, preset=preset, key=key, licence=licence, overrides=set_ or [],
            out=out, overwrite=overwrite, download=download, listener=show,
        )  # fmt: skip
    _show(found, show, dry_run=dry_run)


def _show(found: "Imported", show: "Show", *, dry_run: bool) -> None:
    """Show what fits and what is left, and what may come next."""
    import shlex

    first = ", ".join(found.left_out[:3]) + (", ..." if len(found.left_out) > 3 else "")
    rows = [
        ("encoder", found.encoder),
        *([("text encoder", found.text_encoder)] if found.text_encoder else []),
        *([("images", f"{found.image_size} pixels")] if found.image_size else []),
        ("evaluated as", found.preset),
        ("written by", found.origin or "an unknown code"),
        ("tensors loaded", f"{found.loaded}, below {found.prefix!r}" if found.prefix
         else str(found.loaded)),
        ("classifier", f"{found.classes} classes" if found.classes else "none"),
        ("left out", f"{len(found.left_out)} ({first})" if found.left_out else "0"),
        ("sha256", found.sha256),
        ("licence", found.licence or "not told"),
        ("run", str(found.run)),
    ]  # fmt: skip
    show.table("", ("import", found.source), rows)
    if not dry_run:
        run = shlex.quote(str(found.run))
        is_text = found.image_size is None
        what = f"sts-eval {run}" if is_text else f"knn-eval {run} --data D"
        what = f"zero-shot-eval {run} --data D" if found.text_encoder else what
        show.note(f"done; next: ssl {what}")
    show.result(**found.as_dict(), checkpoint=str(found.checkpoint), dry_run=dry_run)
