"""`ssl pretrain`: train a method from a preset."""

from typing import Annotated, Literal

from typer import Option

from sslcli.cli import options


def pretrain(
    method: options.Method = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    data: options.Data = None,
    test: options.Test = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    out: Annotated[
        str | None,
        Option(
            "--out",
            metavar="RUN",
            help="Run directory.",
            show_default="runs/PRESET",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    max_time: options.MaxTime = None,
    keep: Annotated[
        int | None,
        Option(
            "--keep",
            min=1,
            help="Resumable states kept.",
            show_default="the preset's",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    on_collapse: Annotated[
        Literal["warn", "stop"] | None,
        Option(
            "--on-collapse",
            help="What collapsed embeddings cause; stop exits 6.",
            show_default="the preset's",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    dry_run: options.DryRun = False,
    peak_tflops: Annotated[
        float | None,
        Option(
            "--peak-tflops",
            min=1e-3,
            metavar="X",
            help="One device's peak, for the GPU-hours of --dry-run.",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    utilisation: Annotated[
        float | None,
        Option(
            "--utilisation",
            min=1e-3,
            max=1,
            metavar="0.4",
            help="Share of the peak that is reached, for --dry-run.",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    devices: options.Devices = 1,
    max_restarts: options.MaxRestarts = 3,
    device: options.Device = "auto",
    precision: options.Precision = None,
    compile_: Annotated[
        bool,
        Option(
            "--compile",
            help="Compile forward and backward with torch.compile.",
            rich_help_panel=options.DEVICE,
        ),
    ] = False,
    chunk_size: Annotated[
        int | None,
        Option(
            "--chunk-size",
            min=2,
            metavar="N",
            help="Embed N images at a time: a contrastive batch's exact gradient in less memory.",
            show_default="the whole batch",
            rich_help_panel=options.DEVICE,
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a method on images, without labels.

    ssl pretrain --method simsiam --data photos/ --out runs/photos
    """
    from functools import partial
    from pathlib import Path

    from sslcli.cli.choose import choose_preset
    from sslcli.cli.launching import check_batch, launch, must_launch, resume_line, taking_part
    from sslcli.cli.resuming import aged, stored
    from sslcli.cli.show import Show
    from sslcli.cli.train import Place, pretrain_run, restarted
    from sslcli.config.methods.registry import is_custom
    from sslcli.config.presets import resolve
    from sslcli.engine.stop import Stop, seconds
    from sslcli.errors import UsageError

    is_launcher = must_launch(devices) and not dry_run
    show = Show("pretrain", as_json=json, quiet=quiet or is_launcher)
    stop = Stop(seconds(max_time), resume_line(out))
    place = restarted(Place(out, resume, overwrite))
    options_given = {
        "data.source": data,
        "data.test": test,
        "data.root": data_root,
        "data.download": download or None,
        "seed": seed,
        "train.precision": precision,
        "train.compile": compile_ or None,
        "train.chunk_size": chunk_size,
        "train.on_collapse": on_collapse,
        "train.keep": keep,
    }
    if method and is_custom(method):
        from sslcli.methods.custom import name_code

        name_code(method)
        options_given["method.name"] = method
    named = {key: value for key, value in options_given.items() if value is not None}
    if place.resume:  # an older run has chosen by its seed what is held out
        named["data.holdout_seed"] = place.stored().data.holdout_seed
    if place.resume and not (preset or config) and (not method or is_custom(method)):
        chosen = stored(place.stored(), Path(str(place.out)), named, set_ or [])
    else:
        name = choose_preset(method, preset, config, data, device, show.note)
        chosen, kept = aged(resolve(name, config, named, set_ or []), place.saved())
        if kept:
            show.note(f"the run began before these fields, and keeps to that: {', '.join(kept)}")
    if chosen.method.from_checkpoint:
        hint = "use `ssl finetune`, `linear-eval --protocol paper` or `distill`, with --resume"
        raise UsageError(f"a {chosen.method.name} run needs its checkpoint", "method.name", hint)
    if is_custom(chosen.method.name):
        from sslcli.methods.custom import completed

        chosen = completed(chosen)
    check_batch(chosen.train, devices)
    if is_launcher:
        launch(place.check(chosen), place, devices, device, max_restarts, show)
    with taking_part(device) as where:
        estimate = None
        if dry_run:
            from sslcli.cli.reports.cost import show_estimate

            estimate = partial(
                show_estimate,
                show=show,
                processes=devices,
                peak_tflops=peak_tflops,
                utilisation=utilisation,
            )
        pretrain_run(chosen, place, stop, where, show, estimate)
