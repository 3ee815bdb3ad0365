"""`ssl finetune`: train encoder and classifier together, with all or few labels."""

from pathlib import Path
from typing import Annotated

from sslcli.cli import options


def finetune(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    label_fraction: Annotated[
        float | None,
        options.data(
            "--label-fraction",
            min=1e-6,
            max=1,
            help="Share of each class's labels used, above 0 and at most 1.",
            show_default="the preset's",
        ),
    ] = None,
    label_list: Annotated[
        str | None,
        options.data(
            "--label-list",
            metavar="FILE",
            help="Use the labels of the images that a file names, one a line.",
        ),
    ] = None,
    from_head_layer: Annotated[
        int,
        options.what(
            "--from-head-layer",
            min=0,
            metavar="N",
            help="Keep the first N hidden layers of the projection head (SimCLR v2).",
        ),
    ] = 0,
    recipe: Annotated[
        str | None,
        options.what(
            "--recipe",
            metavar="P",
            help="Take the recipe evaluation.finetune of this preset.",
            show_default="the checkpoint's",
        ),
    ] = None,
    method: options.Code = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    out: Annotated[
        str | None,
        options.run(
            "--out", metavar="RUN", help="Run directory.", show_default="finetune, beside CKPT"
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
    """Train the encoder and a classifier together, from the checkpoint's weights.

    The recipe is the preset's evaluation.finetune; change it with
    --set evaluation.finetune.duration='"20 epochs"'.

    ssl finetune runs/simsiam-digits --label-fraction 0.1
    """
    from sslcli.cli.launching import beside, launch, must_launch, resume_line, taking_part
    from sslcli.cli.publish import METRICS, open_run, seeded
    from sslcli.cli.show import Show
    from sslcli.cli.syntax import parse_seeds
    from sslcli.engine.stop import Stop, seconds
    from sslcli.workflows.place import Place, restarted

    show, chosen = Show("finetune", as_json=json, quiet=quiet), parse_seeds(seeds)
    place = restarted(Place(out or str(beside(ckpt, "finetune")), resume, overwrite))
    stop = Stop(seconds(max_time), resume_line(place.out))
    if must_launch(devices) and not dry_run:
        launch(Path(str(place.out)), place, devices, device, max_restarts, show)
    with taking_part(device) as where:
        from sslcli.cli.reports.cost import show_estimate
        from sslcli.workflows.finetune import Finetuning
        from sslcli.workflows.recipes import with_labels, with_recipe

        changes = with_labels(set_ or [], label_fraction, label_list)
        publisher = open_run(
            with_recipe(ckpt, recipe, method), show, require=require or [],
            metrics=seeded(METRICS, chosen), data=data, test=test,
            data_root=data_root, download=download, seed=seed, device=str(where),
            precision=precision, method=method, overrides=changes, dry_run=dry_run,
        )  # fmt: skip
        work = Finetuning(
            publisher.run, place, stop, chosen, log, head_layers=from_head_layer, fit=fit
        )
        if dry_run:
            show_estimate(work.planned(devices), show)
            return
        result = work.result()
        publisher.publish_repeated(result, per_class=result.per_class)
