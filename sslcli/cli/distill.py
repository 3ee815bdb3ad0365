"""`ssl distill`: train a student on a fine-tuned teacher's answers, on images without labels."""

from pathlib import Path
from typing import Annotated

from typer import Argument

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
        options.run(
            "--out", metavar="RUN", help="Run directory.", show_default="distill, beside TEACHER"
        ),
    ] = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    max_time: options.MaxTime = None,
    log: options.Log = None,
    dry_run: options.DryRun = False,
    devices: options.Devices = 1,
    max_restarts: options.MaxRestarts = 3,
    device: options.Device = "auto",
    precision: options.Precision = None,
    fit: options.Fit = False,
    require: options.Require = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a student on a teacher's probabilities, on images that need no labels.

    The student has the teacher's encoder unless --set encoder.name='"resnet18"' or another field
    changes it. The recipe is the preset's evaluation.distill (SimCLR v2, arXiv:2006.10029).

    ssl distill runs/simclr-v2-digits/finetune --data photos/ --out runs/student
    """
    from sslcli.cli.launching import beside, launch, must_launch, resume_line, taking_part
    from sslcli.cli.publish import METRICS, open_run, seeded
    from sslcli.cli.show import Show
    from sslcli.cli.syntax import parse_seeds
    from sslcli.engine.stop import Stop, seconds
    from sslcli.workflows.place import Place, restarted

    show, chosen = Show("distill", as_json=json, quiet=quiet), parse_seeds(seeds)
    place = restarted(Place(out or str(beside(teacher, "distill")), resume, overwrite))
    stop = Stop(seconds(max_time), resume_line(place.out))
    if must_launch(devices) and not dry_run:
        launch(Path(str(place.out)), place, devices, device, max_restarts, show)
    metrics = seeded((*METRICS, "agreement", "top1_teacher"), chosen)
    with taking_part(device) as where:
        from sslcli.cli.reports.cost import show_estimate
        from sslcli.workflows.distill import Distillation

        publisher = open_run(
            teacher, show, require=require or [], metrics=metrics, labelled=False, data=data,
            test=test, data_root=data_root, download=download, seed=seed, device=str(where),
            precision=precision, method=method, overrides=set_ or [], dry_run=dry_run,
        )  # fmt: skip
        work = Distillation(publisher.run, place, stop, chosen, log, fit=fit)
        if dry_run:
            show_estimate(work.planned(devices), show)
            return
        publisher.publish_repeated(work.result())
