"""`ssl linear-eval`: a linear classifier on a frozen encoder."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from sslcli.cli import options

EXTRA = {"features": ("l2", "fit_seconds"), "paper": ()}


def linear_eval(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    protocol: Annotated[
        Literal["features", "paper"],
        Option(
            "--protocol",
            help="Cached features, or the preset's augmented SGD recipe.",
            rich_help_panel=options.WHAT,
        ),
    ] = "features",
    solver: Annotated[
        Literal["lbfgs", "sgd"],
        Option("--solver", help="For --protocol features.", rich_help_panel=options.WHAT),
    ] = "lbfgs",
    baseline: Annotated[
        bool,
        Option(
            "--baseline",
            help="Also measure the untrained encoder.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    method: options.Code = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    resume: options.Resume = False,
    max_time: options.MaxTime = None,
    dry_run: options.DryRun = False,
    devices: options.Devices = 1,
    max_restarts: options.MaxRestarts = 3,
    device: options.Device = "auto",
    precision: options.Precision = None,
    require: options.Require = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a linear classifier on the frozen encoder and test it.

    With features, L-BFGS chooses its penalty on a tenth of the training images; the test images
    are looked at once. --resume, --max-time and --devices are for --protocol paper.

    ssl linear-eval runs/simsiam-digits --seeds 0-2
    """
    from sslcli.cli import evaluation as evaluating
    from sslcli.cli.choose import name_code_of
    from sslcli.cli.launching import beside, launch, must_launch, resume_line, taking_part
    from sslcli.cli.show import Show
    from sslcli.cli.train import Place, restarted
    from sslcli.engine.stop import Stop, seconds
    from sslcli.errors import UsageError

    show = Show("linear-eval", as_json=json, quiet=quiet)
    name_code_of(ckpt, method)
    training_only = {"--resume": resume, "--max-time": max_time, "--devices": devices > 1}
    if protocol == "features" and (given := [name for name, on in training_only.items() if on]):
        hint = "add it, or leave this out"
        raise UsageError("this is for --protocol paper", ", ".join(given), hint)
    place = restarted(Place(str(beside(ckpt, "linear-probe")), resume, overwrite=not resume))
    stop = Stop(seconds(max_time), resume_line(place.out))
    if must_launch(devices) and not dry_run:
        launch(Path(str(place.out)), place, devices, device, max_restarts, show)
    choice = evaluating.DataChoice(data, test, data_root, download)
    known = evaluating.seeded((*evaluating.METRICS, *EXTRA[protocol]), seeds)
    with taking_part(device) as where:
        evaluation = evaluating.open_evaluation(
            ckpt, choice, show, set_=set_ or [], seed=seed, device=str(where), precision=precision,
            require=require or [], metrics=(*known, *(("top1_untrained",) if baseline else ())),
        )  # fmt: skip
        from sslcli.cli.measure import FeatureProbe
        from sslcli.cli.reports.cost import show_estimate
        from sslcli.cli.supervised import Supervised

        paper = Supervised(evaluation, "linear-probe", place, stop, series=bool(seeds))
        if dry_run and protocol == "paper":
            recipe = paper.recipe(evaluation.config.seed)
            show_estimate(paper.training(*recipe), show, processes=devices)
            return
        if dry_run:
            evaluation.plan()
            return
        run = paper if protocol == "paper" else FeatureProbe(evaluation, solver)
        metrics, more = evaluating.run_over(seeds, evaluation.config.seed, run)
        if baseline:
            fresh = FeatureProbe(evaluating.untrained(evaluation), solver)(evaluation.config.seed)
            metrics["top1_untrained"] = fresh["top1"]
        evaluation.publish(metrics, **more)
