"""`ssl distill`: train a student on a fine-tuned teacher's answers, on images without labels."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from sslcli.cli import options


def distill(
    teacher: Annotated[
        str,
        Argument(metavar="TEACHER", help="A run with a classifier, such as that of ssl finetune."),
    ],
    data: options.Data = None,
    test: options.Test = None,
    method: options.Code = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    out: Annotated[
        str | None,
        Option(
            "--out",
            metavar="RUN",
            help="Run directory.",
            show_default="distill, beside TEACHER",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
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
    """Train a student on a teacher's probabilities, on images that need no labels.

    The student has the teacher's encoder unless --set encoder.name='"resnet18"' or another field
    changes it. The recipe is the preset's evaluation.distill (SimCLR v2, arXiv:2006.10029).

    ssl distill runs/simclr-v2-digits/finetune --data photos/ --out runs/student
    """
    from sslcli.cli.choose import name_code_of
    from sslcli.cli.evaluation import METRICS, DataChoice, open_evaluation, run_over, seeded
    from sslcli.cli.launching import beside, launch, must_launch, resume_line, taking_part
    from sslcli.cli.show import Show
    from sslcli.cli.train import Place, restarted
    from sslcli.engine.stop import Stop, seconds

    show = Show("distill", as_json=json, quiet=quiet)
    name_code_of(teacher, method)
    place = restarted(Place(out or str(beside(teacher, "distill")), resume, overwrite))
    stop = Stop(seconds(max_time), resume_line(place.out))
    if must_launch(devices) and not dry_run:
        launch(Path(str(place.out)), place, devices, device, max_restarts, show)
    choice = DataChoice(data, test, data_root, download)
    metrics = (*METRICS, "agreement", "top1_teacher")
    with taking_part(device) as where:
        evaluation = open_evaluation(
            teacher, choice, show, set_=set_ or [], seed=seed, device=str(where),
            precision=precision, require=require or [], metrics=seeded(metrics, seeds),
            labelled=False,
        )  # fmt: skip
        from sslcli.cli.distilling import Distillation
        from sslcli.cli.reports.cost import show_estimate

        run = Distillation(evaluation, place, stop, series=bool(seeds))
        if dry_run:
            recipe = run.recipe(evaluation.config.seed)
            show_estimate(run.training(*recipe), show, processes=devices)
            return
        found, more = run_over(seeds, evaluation.config.seed, run)
        evaluation.publish(found, **more)
