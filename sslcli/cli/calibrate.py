"""`ssl calibrate`: how true a classifier's probabilities are, before and after calibration."""

from typing import Annotated, Literal

from sslcli.cli import options


def calibrate(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    method: Annotated[
        Literal["temperature", "vector", "isotonic", "stored", "none"],
        options.what(
            "--method", help="What to fit; stored applies what --store kept, none only measures."
        ),
    ] = "temperature",
    fit_data: Annotated[
        str | None,
        options.data(
            "--fit-data",
            metavar="D",
            help="Labelled data to fit on, all of it unseen in training.",
            show_default="a share of the held-out images",
        ),
    ] = None,
    fit_share: Annotated[
        float | None,
        options.data(
            "--fit-share",
            min=0.01,
            max=0.99,
            help="Share of each class's held-out images to fit on; the others are reported on.",
            show_default="0.5",
        ),
    ] = None,
    bins: Annotated[
        int,
        options.what("--bins", min=1, max=1000, help="Bins of every calibration error."),
    ] = 15,
    store: Annotated[
        bool,
        options.run(
            "--store", help="Keep the calibrator in the checkpoint, for other commands to apply."
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    precision: options.Precision = None,
    require: options.Require = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a classifier's calibration, fit a calibrator, and measure again on other images.

    CKPT is a run of ssl finetune or ssl linear-eval --protocol paper, or another code's classifier.
    The calibrator is fitted on half of the held-out images and reported on the other half; the seed
    decides which.

    ssl calibrate runs/simsiam-digits/finetune --store --require 'ece<=0.05'
    """
    from sslcli.cli.publish import open_run
    from sslcli.cli.reports import calibration as report
    from sslcli.cli.show import Show
    from sslcli.cli.syntax import parse_seeds
    from sslcli.workflows import calibrate as workflow
    from sslcli.workflows.calibration_data import Fitting, check_fitting
    from sslcli.workflows.importing import checkpoint_of

    show = Show("calibrate", as_json=json, quiet=quiet)
    fitting, each = Fitting(method, fit_data, fit_share), parse_seeds(seeds)
    checkpoint = checkpoint_of(ckpt, encoder, preset, show, dry_run=dry_run)
    check_fitting(checkpoint, fitting, seeds=each, store=store, overwrite=overwrite)
    # --seed goes to the fitting alone: which images are held out is the checkpoint's affair.
    publisher = open_run(
        checkpoint, show, data=data, test=test, data_root=data_root, download=download,
        overrides=set_ or [], device=device, precision=precision, require=require or [],
        metrics=workflow.metric_names(method, each), dry_run=dry_run,
    )  # fmt: skip
    if dry_run:
        report.plan(publisher, fitting, seed)
        return
    result = workflow.calibrate(
        publisher.run, method=method, fit_data=fit_data, fit_share=fit_share, bins=bins, seed=seed,
        seeds=each, listener=show,
    )  # fmt: skip
    if store:
        result = report.stored(publisher, result)
    report.publish(publisher, result, figure=f"reliability-{method}.png", bins=bins)
