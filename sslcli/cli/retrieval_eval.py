"""`ssl retrieval-eval`: images by their texts, and texts by their images."""

from typing import Annotated

from sslcli.cli import options


def retrieval_eval(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    out: Annotated[
        str | None,
        options.output(
            "--out",
            metavar="FILE",
            help="The PNG to write.",
            show_default="figures/retrieval.png in the run",
        ),
    ] = None,
    method: options.Code = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    require: options.Require = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Rank all texts of the test part for each image, and all its images for each text.

    R@k is the share of queries with a right answer among the first k. Images of equal captions
    are all right answers; intervals are of 95 %.

    ssl retrieval-eval runs/clip --require 'text_to_image_r10>=0.1'
    """
    from sslcli.cli.publish import open_run
    from sslcli.cli.show import Show, cell
    from sslcli.workflows import retrieval_eval as workflow

    show = Show("retrieval-eval", as_json=json, quiet=quiet)
    publisher = open_run(
        ckpt, show, data=data, test=test, data_root=data_root, download=download,
        overrides=set_ or [], seed=seed, device=device, precision=precision, method=method,
        require=require or [], metrics=workflow.metric_names(), labelled=False,
    )  # fmt: skip
    if dry_run:
        workflow.check(publisher.run)
        publisher.plan({"test": len(publisher.run.splits.test)})
        return
    result = workflow.retrieval_eval(publisher.run, out=out, listener=show)
    chances, intervals = result.chances(), result.intervals()
    rows = [
        (
            name,
            value,
            f"[{', '.join(map(cell, intervals[name]))}]" if name in intervals else "",
            chances.get(name, ""),
        )
        for name, value in result.metrics().items()
    ]
    publisher.publish(
        result.metrics(), columns=("metric", "value", "95 % interval", "chance"), rows=rows,
        intervals=intervals, protocol=result.protocol, figures=[str(result.path)],
        chance=chances, cut=result.cut,
    )  # fmt: skip
    show.note(f"protocol: {result.protocol}")
