"""`ssl linear-eval`: a linear classifier on a frozen encoder."""

from pathlib import Path
from typing import Annotated, Literal

from sslcli.cli import options

BASELINE = ("top1_untrained", "top1_pixels")
EXTRA = {"features": ("l2", "fit_seconds"), "paper": ("rate",)}


def linear_eval(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    protocol: Annotated[
        Literal["features", "paper"],
        options.what("--protocol", help="Cached features, or the preset's augmented SGD recipe."),
    ] = "features",
    solver: Annotated[
        Literal["lbfgs", "sgd"],
        options.what("--solver", help="For --protocol features."),
    ] = "lbfgs",
    baseline: Annotated[
        bool,
        options.what("--baseline", help="Also measure the untrained encoder and raw pixels."),
    ] = False,
    shots: options.Shots = None,
    draws: options.Draws = 10,
    layers: options.Layers = None,
    tower: options.Tower = None,
    rates: Annotated[
        str | None,
        options.what(
            "--rates",
            metavar="0.01,0.1",
            help="Base rates to train with side by side, for --protocol paper; training images "
            "that are held out choose, and are not learned afterwards.",
        ),
    ] = None,
    method: options.Code = None,
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
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
    fit: options.Fit = False,
    require: options.Require = None,
    per_class: options.PerClass = False,
    confusion: options.Confusion = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a linear classifier on the frozen encoder and test it.

    With features, L-BFGS chooses its penalty on a tenth of the training images; the test images
    are looked at once. --resume, --max-time, --devices and --fit are for --protocol paper.

    ssl linear-eval runs/simsiam-digits --seeds 0-2
    """
    from sslcli.cli.launching import beside, launch, must_launch, resume_line, taking_part
    from sslcli.cli.publish import METRICS, open_run, seeded
    from sslcli.cli.show import Show
    from sslcli.cli.syntax import parse_rates, parse_seeds, parse_shots
    from sslcli.engine.stop import Stop, seconds
    from sslcli.evaluate.few_shot import FewShots
    from sslcli.workflows.linear_eval import (
        FeatureProbe,
        PaperProbe,
        check_protocol,
        check_rates,
        check_tower,
        measure,
        with_probe,
    )
    from sslcli.workflows.place import Place, restarted

    show, chosen = Show("linear-eval", as_json=json, quiet=quiet), parse_seeds(seeds)
    limit, few = seconds(max_time), FewShots(parse_shots(shots), draws)
    only_paper = {"resume": resume, "max_time": limit is not None, "rates": bool(rates)}
    check_tower(protocol, tower)
    check_protocol(protocol, few, devices=devices > 1, fit=fit, **only_paper)
    check_rates(ckpt, parse_rates(rates), encoder, preset)
    changes = with_probe(set_ or [], layers, parse_rates(rates), tower)
    place = restarted(Place(str(beside(ckpt, "linear-probe")), resume, overwrite=not resume))
    stop = Stop(limit, resume_line(place.out))
    if must_launch(devices) and not dry_run:
        launch(Path(str(place.out)), place, devices, device, max_restarts, show)
    known = (
        *seeded((*METRICS, *EXTRA[protocol], *few.metrics), chosen),
        *(BASELINE if baseline else ()),
    )
    with taking_part(device) as where:
        from sslcli.cli.reports.classes import publish
        from sslcli.cli.reports.cost import show_estimate

        publisher = open_run(
            ckpt, show, require=require or [], metrics=known, data=data, test=test,
            data_root=data_root, download=download, seed=seed, device=str(where),
            precision=precision, method=method, overrides=changes,
            encoder=encoder, preset=preset, dry_run=dry_run,
        )  # fmt: skip
        run = publisher.run
        paper = PaperProbe(run, place, stop, chosen, fit=fit)
        if dry_run and protocol == "paper":
            show_estimate(paper.planned(devices), show)
            return
        if dry_run:
            publisher.plan()
            return
        probe = paper if protocol == "paper" else FeatureProbe(run, solver)
        result = measure(run, probe, solver, chosen, few, baseline=baseline)
        publish(publisher, result, per_class=per_class, confusion=confusion)
