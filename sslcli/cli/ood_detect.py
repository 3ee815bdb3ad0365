"""`ssl ood-detect`: tell the data of an encoder from other data."""

from typing import Annotated

from sslcli.cli import options


def ood_detect(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    ood: Annotated[
        list[str] | None,
        options.data(
            "--ood",
            metavar="D",
            help="Outside data: any --data, or uniform-noise, gaussian-noise, constant, "
            "blurred-noise, interpolation, permuted-pixels. Repeatable.",
            show_default="those six",
        ),
    ] = None,
    score: Annotated[
        list[str] | None,
        options.what(
            "--score",
            metavar="NAME",
            help="msp, maxlogit, energy, entropy, odin, mahalanobis, relative-mahalanobis, knn, "
            "vim, react, ash, gen, log-p, mass, refine, refine-distance. Repeatable.",
            show_default="all that apply",
        ),
    ] = None,
    tune: Annotated[
        bool,
        options.what(
            "--tune/--no-tune",
            help="Choose settings on held-out training images and their jigsaws, or keep the "
            "published ones.",
        ),
    ] = True,
    method: options.Code = None,
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    precision: options.Precision = None,
    require: options.Require = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score how far images are from the training data, and measure how well that parts two sets.

    Every score rises towards the inside, the test part of --data. Scores are fitted on training
    images and never on test images. A stored calibrator corrects those of probabilities, which are
    msp, entropy and gen. Metrics are named METRIC/SCORE/SET, and METRIC/SCORE is their mean over
    sets; METRIC is auroc, aupr_in, aupr_out, fpr95_in or fpr95_out.

    ssl ood-detect runs/simsiam-digits/finetune --ood photos/ --require 'auroc/knn/photos>=0.9'
    """
    from sslcli.cli.publish import open_run
    from sslcli.cli.show import Show

    show = Show("ood-detect", as_json=json, quiet=quiet)
    from sslcli.cli.reports import detection as report
    from sslcli.workflows import ood_detect as workflow
    from sslcli.workflows.ood_result import metric_names
    from sslcli.workflows.outside import outside_names

    sets, names = ood or [], [each.name for each in workflow.chosen_scores(score or [])]
    publisher = open_run(
        ckpt, show, data=data, test=test, data_root=data_root, download=download,
        overrides=set_ or [], seed=seed, device=device, precision=precision, method=method,
        encoder=encoder, preset=preset, dry_run=dry_run,
        require=require or [], metrics=(*metric_names(names, outside_names(sets)), "top1"),
        labelled=False,
    )  # fmt: skip
    if dry_run:
        report.plan(publisher, sets, names)
        return
    result = workflow.ood_detect(
        publisher.run, ood=sets, score=score or [], tune=tune, listener=show
    )
    report.publish(publisher, result)
