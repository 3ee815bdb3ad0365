"""`ssl finetune`: train encoder and classifier together, with all or few labels."""

from typing import Annotated

from typer import Option

from sslcli.cli import options


def finetune(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    label_fraction: Annotated[
        float, Option("--label-fraction", help="Share of each class's labels used, above 0 to 1.")
    ] = 1.0,
    out: Annotated[
        str | None, Option("--out", metavar="RUN", help="Run directory [beside the checkpoint].")
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on from the newest whole state of --out.")
    ] = False,
    set_: options.Set = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    max_time: options.MaxTime = None,
    overwrite: options.Overwrite = False,
    require: options.Require = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the encoder and a classifier together, from the checkpoint's weights.

    The recipe is the preset's [evaluation.finetune]; change it with
    --set evaluation.finetune.duration='"20 epochs"'.

    ssl finetune runs/simsiam-digits --label-fraction 0.1
    """
    from sslcli.cli.evaluation import DataChoice, open_evaluation, over_seeds
    from sslcli.cli.show import Show
    from sslcli.cli.train import Place, parse_duration
    from sslcli.engine.stop import Stop
    from sslcli.errors import UsageError

    show = Show("finetune", as_json=json, quiet=quiet)
    if not 0 < label_fraction <= 1:
        raise UsageError(f"{label_fraction} is no share", "--label-fraction", "above 0, at most 1")
    if resume and seeds:
        raise UsageError("--resume goes on with one run", "--seeds", "use --seed")
    stop = Stop(parse_duration(max_time))
    choice = DataChoice(data, test, data_root, download)
    evaluation = open_evaluation(
        ckpt, choice, show, set_=set_ or [], seed=seed, device=device, precision=precision,
        require=require or [],
    )  # fmt: skip
    from sslcli.cli.estimate import show_estimate
    from sslcli.cli.supervised import Supervised

    place = Place(out or str(evaluation.checkpoint.run / "finetune"), resume, overwrite)
    run = Supervised(evaluation, "finetune", place, stop, label_fraction)
    if dry_run:
        show_estimate(run.training(evaluation.config.seed), show)
        return
    metrics, more = over_seeds(seeds, evaluation.config.seed, run)
    evaluation.publish(metrics, require or [], **more)
