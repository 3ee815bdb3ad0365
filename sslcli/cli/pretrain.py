"""`ssl pretrain`: train a method from a preset."""

from typing import Annotated

from typer import Option

from sslcli.cli import options


def pretrain(
    method: Annotated[
        str | None, Option("--method", help="A paper; picks the preset for the data.")
    ] = None,
    preset: Annotated[
        str | None, Option("--preset", help="method/setting, see `ssl presets list`, or a file.")
    ] = None,
    data: options.Data = None,
    test: options.Test = None,
    out: Annotated[
        str | None, Option("--out", metavar="RUN", help="Run directory [runs/PRESET].")
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on from the newest whole state of --out.")
    ] = False,
    config: Annotated[
        str | None, Option("--config", metavar="FILE", help="A .toml laid over the preset.")
    ] = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    compile_: Annotated[
        bool, Option("--compile", help="Compile forward and backward with torch.compile.")
    ] = False,
    on_collapse: Annotated[
        str | None, Option("--on-collapse", help="warn or stop (exit 6) [warn].")
    ] = None,
    keep: Annotated[int | None, Option("--keep", min=1, help="Resumable states kept.")] = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    max_time: options.MaxTime = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a method on images, without labels.

    ssl pretrain --method simsiam --data photos/ --out runs/photos
    """
    from sslcli.cli.choose import choose_preset
    from sslcli.cli.show import Show
    from sslcli.cli.train import Place, parse_duration, pretrain_run, stored_config
    from sslcli.config.presets import resolve

    show = Show("pretrain", as_json=json, quiet=quiet)
    seconds = parse_duration(max_time)
    options_given = {
        "data.source": data,
        "data.test": test,
        "data.root": data_root,
        "data.download": download or None,
        "seed": seed,
        "train.precision": precision,
        "train.compile": compile_ or None,
        "train.on_collapse": on_collapse,
        "train.keep": keep,
    }
    named = {key: value for key, value in options_given.items() if value is not None}
    if resume:
        chosen = stored_config(out, named, set_ or [])
    else:
        name = choose_preset(method, preset, config, data, device, show.talk)
        chosen = resolve(name, config, named, set_ or []).config
    from sslcli.engine.stop import Stop

    place = Place(out, resume, overwrite)
    pretrain_run(chosen, place, Stop(seconds), device, show, dry_run=dry_run)
