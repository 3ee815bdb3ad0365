"""`ssl linear-eval`: a linear classifier on a frozen encoder."""

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
    set_: options.Set = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    resume: options.Resume = False,
    max_time: options.MaxTime = None,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    precision: options.Precision = None,
    require: options.Require = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a linear classifier on the frozen encoder and test it.

    With features, L-BFGS chooses its penalty on a tenth of the training images; the test images
    are looked at once. --resume and --max-time are for --protocol paper.

    ssl linear-eval runs/simsiam-digits --seeds 0-2
    """
    from sslcli.cli import evaluation as evaluating
    from sslcli.cli.show import Show
    from sslcli.cli.train import Place, parse_duration
    from sslcli.engine.stop import Stop
    from sslcli.errors import UsageError

    show = Show("linear-eval", as_json=json, quiet=quiet)
    stop = Stop(parse_duration(max_time))
    if protocol == "features" and (resume or max_time):
        where = "--resume" if resume else "--max-time"
        raise UsageError("this is for --protocol paper", where, "add it, or leave this out")
    choice = evaluating.DataChoice(data, test, data_root, download)
    known = evaluating.seeded((*evaluating.METRICS, *EXTRA[protocol]), seeds)
    evaluation = evaluating.open_evaluation(
        ckpt, choice, show, set_=set_ or [], seed=seed, device=device, precision=precision,
        require=require or [], metrics=(*known, *(("top1_untrained",) if baseline else ())),
    )  # fmt: skip
    from sslcli.cli.estimate import show_estimate
    from sslcli.cli.measure import FeatureProbe
    from sslcli.cli.supervised import Supervised

    place = Place(str(evaluation.checkpoint.run / "linear-probe"), resume, overwrite=not resume)
    paper = Supervised(evaluation, "linear-probe", place, stop, series=bool(seeds))
    if dry_run and protocol == "paper":
        show_estimate(paper.training(*paper.recipe(evaluation.config.seed)), show)
        return
    if dry_run:
        evaluation.plan()
        return
    run = paper if protocol == "paper" else FeatureProbe(evaluation, solver)
    metrics, more = evaluating.over_seeds(seeds, evaluation.config.seed, run)
    if baseline:
        fresh = FeatureProbe(evaluating.untrained(evaluation), solver)(evaluation.config.seed)
        metrics["top1_untrained"] = fresh["top1"]
    evaluation.publish(metrics, **more)
