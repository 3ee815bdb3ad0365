"""`ssl zero-shot-eval`: classes named by prompts."""

from typing import Annotated

from sslcli.cli import options


def zero_shot_eval(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    prompts: Annotated[
        list[str] | None,
        options.what(
            "--prompts",
            metavar="'a photo of a {}'",
            help="A template, a .txt with one a line, imagenet or imagenet-7. Repeatable.",
            show_default="built in for the data",
        ),
    ] = None,
    names: Annotated[
        str | None,
        options.what(
            "--names",
            metavar="FILE",
            help="What the prompts call each class of the data: a .json, .csv, .tsv, or imagenet.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        options.run(
            "--out",
            metavar="RUN",
            help="Keep the classifier as a run for calibrate, ood-detect and robust-eval.",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    method: options.Code = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    require: options.Require = None,
    per_class: options.PerClass = False,
    confusion: options.Confusion = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Classify the test images by the class whose prompts lie nearest; no label is learned from.

    CKPT has a tower of images and one of texts. The vectors of a class's prompts are averaged
    (Radford et al. 2021, arXiv:2103.00020, section 3.1.4).

    ssl zero-shot-eval runs/clip --prompts 'a photo of a {}' --prompts 'a small {}'
    """
    from sslcli.cli.publish import METRICS, open_run
    from sslcli.cli.show import Show
    from sslcli.workflows import zero_shot_eval as workflow

    show = Show("zero-shot-eval", as_json=json, quiet=quiet)
    publisher = open_run(
        ckpt, show, data=data, test=test, data_root=data_root, download=download,
        overrides=set_ or [], seed=seed, device=device, precision=precision, method=method,
        require=require or [], metrics=(*METRICS, "cut"), labelled=False,
    )  # fmt: skip
    if dry_run:
        wording = workflow.wording_of(publisher.run, prompts or [], names)
        counts = {"test": len(publisher.run.splits.test)}
        publisher.plan(counts, prompts=wording.templates, names=wording.names)
        return
    from sslcli.cli.reports.classes import told_apart

    result = workflow.zero_shot_eval(
        publisher.run, prompts=prompts or [], names=names, out=out, overwrite=overwrite,
        listener=show,
    )  # fmt: skip
    if result.by_prompt:
        show.table("", ("prompt alone", "top1"), list(result.by_prompt.items()))
    own = told_apart(publisher, result, per_class=per_class, confusion=confusion)
    publisher.publish(
        result.as_dict(), prompts=result.prompts, names=result.names, by_prompt=result.by_prompt,
        run=result.path and str(result.path), **own,
    )  # fmt: skip
