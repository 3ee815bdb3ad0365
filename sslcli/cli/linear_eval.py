"""`ssl linear-eval`: a linear classifier on a frozen encoder."""

from typing import Annotated, Literal

from typer import Option

from sslcli.cli import options


def linear_eval(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    protocol: Annotated[
        Literal["features", "paper"],
        Option("--protocol", help="Cached features, or the preset's augmented SGD recipe."),
    ] = "features",
    solver: Annotated[
        Literal["lbfgs", "sgd"], Option("--solver", help="For --protocol features.")
    ] = "lbfgs",
    baseline: Annotated[
        bool, Option("--baseline", help="Also measure the untrained encoder.")
    ] = False,
    set_: options.Set = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    max_time: options.MaxTime = None,
    require: options.Require = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a linear classifier on the frozen encoder and test it.

    With features, L-BFGS chooses its penalty on a tenth of the training images; the test images
    are looked at once.

    ssl linear-eval runs/simsiam-digits --seeds 0-2
    """
    from sslcli.cli.evaluation import DataChoice, open_evaluation, over_seeds, untrained
    from sslcli.cli.show import Show
    from sslcli.cli.train import parse_duration
    from sslcli.engine.stop import Stop

    show = Show("linear-eval", as_json=json, quiet=quiet)
    stop = Stop(parse_duration(max_time))
    choice = DataChoice(data, test, data_root, download)
    evaluation = open_evaluation(
        ckpt, choice, show, set_=set_ or [], seed=seed, device=device, precision=precision,
        require=require or [],
    )  # fmt: skip
    from sslcli.cli.estimate import show_estimate
    from sslcli.cli.measure import FeatureProbe
    from sslcli.cli.supervised import paper_probe

    paper = paper_probe(evaluation, stop)
    if dry_run and protocol == "paper":
        show_estimate(paper.training(evaluation.config.seed), show)
        return
    if dry_run:
        evaluation.plan()
        return
    run = paper if protocol == "paper" else FeatureProbe(evaluation, solver)
    metrics, more = over_seeds(seeds, evaluation.config.seed, run)
    if baseline:
        fresh = FeatureProbe(untrained(evaluation), solver)(evaluation.config.seed)
        metrics["top1_untrained"] = fresh["top1"]
    evaluation.publish(metrics, require or [], **more)
