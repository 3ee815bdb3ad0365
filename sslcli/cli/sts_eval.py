"""`ssl sts-eval`: similarity of sentences against what people found."""

from typing import Annotated

from sslcli.cli import options

TASKS = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr", "pairs", "phrases")
PARTS = ("stsb-dev", "stsb-train", "sickr-dev", "sickr-train")
METRICS = ("spearman", "pearson", "overlap", "alignment", "uniformity", "n", *TASKS, *PARTS)


def sts_eval(
    ckpt: options.Checkpoint,
    data: Annotated[
        str | None,
        options.what(
            "--data",
            help="Pairs with scores: a folder in SentEval's layout, a file of STS-B or SICK, or a "
            "table with a score column.",
            show_default="the built-in phrases",
        ),
    ] = None,
    baseline: Annotated[
        bool, options.what("--baseline", help="Also measure the untrained encoder.")
    ] = False,
    align_above: Annotated[
        float | None,
        options.what(
            "--align-above",
            help="Score above which alignment takes a pair for alike.",
            show_default="4/5 of the highest",
        ),
    ] = None,
    align_equal: Annotated[
        bool, options.what("--align-equal", help="Take that score itself for alike too.")
    ] = False,
    method: options.Code = None,
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    require: options.Require = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Correlate the similarity of sentences with what people found.

    Spearman over all pairs of a task ("all", as SimCSE's tables have it), over its subsets ("mean",
    "wmean"), and Pearson; the mean of the seven STS tasks where all are there; alignment and
    uniformity. The checkpoint knows how a sentence's vector is made.

    ssl sts-eval runs/simcse-phrases --require 'spearman>=0.4'
    """
    from sslcli.cli.publish import open_run
    from sslcli.cli.show import Show
    from sslcli.workflows import sts_eval as workflow

    show = Show("sts-eval", as_json=json, quiet=quiet)
    publisher = open_run(
        ckpt, show, data=data or workflow.BUILTIN, overrides=workflow.whole(data, set_ or []),
        seed=seed, device=device, method=method, encoder=encoder, preset=preset,
        require=require or [], labelled=False,
        metrics=(*METRICS, *(("untrained",) if baseline else ())),
    )  # fmt: skip
    if dry_run:
        asked = workflow.asked_of(publisher.run, data)
        publisher.plan({name: sum(map(len, parts.values())) for name, parts in asked.tasks.items()},
                       first="task", does=" to compare")  # fmt: skip
        return
    result = workflow.sts_eval(
        publisher.run, data=data, baseline=baseline, align_above=align_above,
        align_equal=align_equal, listener=show,
    )  # fmt: skip
    heads = ("task", "pairs", "Spearman all", "mean", "wmean", "Pearson")
    rows = [
        (name, task.n, task.spearman, task.mean, task.wmean, task.pearson)
        for name, task in result.tasks.items()
    ]
    show.table("", heads, rows)
    publisher.publish(result.as_dict(), rows=_summary(result), tasks=result.tables())


def _summary(result: object) -> list[tuple[str, float]]:
    """Return the numbers that stand for all tasks."""
    names = ("spearman", "pearson", "overlap", "untrained", "alignment", "uniformity")
    pairs = ((name, vars(result)[name]) for name in names)
    return [(name, value) for name, value in pairs if value is not None]
