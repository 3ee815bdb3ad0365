"""`ssl pretrain`: train a method from a preset."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from sslcli.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from sslcli.cli.show import Show
    from sslcli.config.schema import Config


def pretrain(
    method: options.Method = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    init: Annotated[
        str | None,
        options.what(
            "--init",
            metavar="CKPT",
            help="Weights that the encoder starts from: a run, or a file of another code.",
        ),
    ] = None,
    init_text: Annotated[
        str | None,
        options.what(
            "--init-text",
            metavar="CKPT",
            help="The same for the encoder of texts, of a method that has both.",
        ),
    ] = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    data: options.Data = None,
    test: options.Test = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    out: Annotated[
        str | None,
        options.run("--out", metavar="RUN", help="Run directory.", show_default="runs/PRESET"),
    ] = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    max_time: options.MaxTime = None,
    keep: Annotated[
        int | None,
        options.run("--keep", min=1, help="Resumable states kept.", show_default="the preset's"),
    ] = None,
    log: options.Log = None,
    best: Annotated[
        Literal["knn", "linear", "rank", "sts"] | None,
        options.run(
            "--best",
            help="Keep the weights that measure best on a slice of the training data as "
            "best.safetensors, too; rank needs no labels, sts takes evaluation.online_sts.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        options.run(
            "--patience",
            min=1,
            metavar="N",
            help="End after N measurements without a better one, by --best.",
        ),
    ] = None,
    on_collapse: Annotated[
        Literal["warn", "stop"] | None,
        options.run(
            "--on-collapse",
            help="What collapsed embeddings cause; stop exits 6.",
            show_default="the preset's",
        ),
    ] = None,
    dry_run: options.DryRun = False,
    peak_tflops: Annotated[
        float | None,
        options.run(
            "--peak-tflops",
            min=1e-3,
            metavar="X",
            help="One device's peak, for the GPU-hours of --dry-run.",
        ),
    ] = None,
    utilisation: Annotated[
        float | None,
        options.run(
            "--utilisation",
            min=1e-3,
            max=1,
            metavar="0.4",
            help="Share of the peak that is reached, for --dry-run.",
        ),
    ] = None,
    devices: options.Devices = 1,
    max_restarts: options.MaxRestarts = 3,
    device: options.Device = "auto",
    precision: options.Precision = None,
    compile_: Annotated[
        bool,
        options.device("--compile", help="Compile forward and backward with torch.compile."),
    ] = False,
    chunk_size: Annotated[
        int | None,
        options.device(
            "--chunk-size",
            min=2,
            metavar="N",
            help="Embed N images at a time: a contrastive batch's exact gradient in less memory.",
            show_default="the whole batch",
        ),
    ] = None,
    fit: options.Fit = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a method on images, without labels.

    ssl pretrain --method simsiam --data photos/ --out runs/photos
    """
    from sslcli.cli.launching import launch, must_launch, resume_line, taking_part
    from sslcli.cli.show import Show
    from sslcli.engine.stop import Stop, seconds
    from sslcli.workflows.choose import planned
    from sslcli.workflows.place import Place, restarted

    is_launcher = must_launch(devices) and not dry_run
    show = Show("pretrain", as_json=json, quiet=quiet or is_launcher)
    stop = Stop(seconds(max_time), resume_line(out))
    place = restarted(Place(out, resume, overwrite))
    chosen = planned(
        method, preset, config, set_ or [], place, device, devices, show, data=data, test=test,
        data_root=data_root, download=download, seed=seed, precision=precision, compile=compile_,
        chunk_size=chunk_size, on_collapse=on_collapse, keep=keep,
        log=log, best=best, patience=patience, init=init, init_text=init_text,
        fit=fit,
    )  # fmt: skip
    if is_launcher:
        launch(place.check(chosen), place, devices, device, max_restarts, show)
    with taking_part(device) as where:
        from sslcli.cli.reports.cost import show_estimate
        from sslcli.workflows.pretrain import prepared, train_from

        planned_for = devices if dry_run else 0
        start = prepared(chosen, place, where, show, fit=fit, planned_for=planned_for)
        if dry_run:
            show_estimate(start.outlook, show, peak_tflops, utilisation)
            return
        run, metrics = train_from(start, place, stop, show)
    _finish(run, metrics, chosen, show)


def _finish(run: "Path", metrics: dict[str, Any], config: "Config", show: "Show") -> None:
    """Say where the checkpoint lies and what may come next."""
    import shlex

    from sslcli.config.presets import config_hash
    from sslcli.engine.checkpoint import BEST, NAME, load_checkpoint

    path, own = str(run / NAME), {}
    if config.train.best and (run / BEST).is_file():
        own["best"] = {**load_checkpoint(run).facts["best"], "checkpoint": str(run / BEST)}
    following = "sts-eval" if config.method.reads == {"text"} else "knn-eval"
    show.note(f"done; next: ssl {following} {shlex.quote(str(run))}")
    show.data(path)
    show.result(
        run=str(run), checkpoint=path, metrics=metrics, config_hash=config_hash(config), **own
    )
