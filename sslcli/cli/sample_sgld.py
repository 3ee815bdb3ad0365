"""`ssl sample-sgld`: draw images from an energy-based model."""

from typing import TYPE_CHECKING, Annotated, Literal

from sslcli.cli import options

if TYPE_CHECKING:
    from sslcli.cli.show import Show
    from sslcli.workflows.sample_sgld import Chains


def sample_sgld(
    ckpt: options.Checkpoint,
    count: Annotated[
        int,
        options.what("--count", min=1, help="Chains, one an image."),
    ] = 64,
    class_: Annotated[
        list[str] | None,
        options.what(
            "--class",
            metavar="K",
            help="Share the chains out among these classes, by name or number; or all. Repeatable.",
        ),
    ] = None,
    start: Annotated[
        Literal["fresh", "buffer"],
        options.what("--start", help="Begin afresh, or where training's own chains were."),
    ] = "fresh",
    target: Annotated[
        Literal["marginal", "class"] | None,
        options.what(
            "--target",
            help="Climb log p(x), or log p(x, y) of a chain's class.",
            show_default="class with --class or where training did",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        options.what(
            "--steps",
            min=0,
            help="Langevin steps of a chain; 0 shows where chains start.",
            show_default="as in training",
        ),
    ] = None,
    step_size: Annotated[
        float | None,
        options.what(
            "--step-size",
            metavar="X",
            help="Factor of the gradient, in the network's range of images.",
            show_default="training's",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        options.what(
            "--noise",
            metavar="X",
            help="Deviation of the noise of a step, in that range.",
            show_default="training's",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        options.what(
            "--judge",
            metavar="CKPT",
            help="A separately trained classifier that says what samples look like.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        options.output(
            "--out", metavar="FOLDER", help="Where the files go.", show_default="the run's figures/"
        ),
    ] = None,
    data: options.Data = None,
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
    """Run Langevin chains up the density that IGEBM, JEM or HDGE with a density term has learned.

    Writes a grid of the images, the energies of the chains over their steps beside those of
    training images, and both as tensors. Says when chains have not settled: when their energies
    still move together from the third quarter of the steps to the last. Without --class, samples
    of a model that knows classes are sorted by what it sees in them.

    ssl sample-sgld runs/jem-digits --class all --start buffer --judge runs/supervised-digits
    """
    from pathlib import Path

    from sslcli.cli.publish import open_run
    from sslcli.cli.reports.sampling import publish
    from sslcli.cli.show import Show
    from sslcli.workflows.checkpoint_config import name_code_of
    from sslcli.workflows.drawn import metrics_of
    from sslcli.workflows.importing import checkpoint_of
    from sslcli.workflows.sample_sgld import Chains, ask
    from sslcli.workflows.sampling_plan import with_sampler

    show = Show("sample-sgld", as_json=json, quiet=quiet)
    checkpoint = checkpoint_of(ckpt, encoder, preset, show, dry_run=dry_run)
    if method:
        name_code_of(checkpoint, method)
    asked = ask(checkpoint, class_ or [], judge)
    publisher = open_run(
        checkpoint, show, data=data, data_root=data_root, download=download,
        overrides=with_sampler(set_ or [], step_size, noise), seed=seed, device=device,
        precision=precision, require=require or [], metrics=metrics_of(judge is not None),
        labelled=False, dry_run=dry_run,
    )  # fmt: skip
    run = publisher.run
    chains = Chains(run, asked, count=count, start=start, target=target, steps=steps)
    if dry_run:
        _plan(show, chains)
        return
    publish(publisher, chains.draw(Path(out) if out else run.checkpoint.run / "figures"))


def _plan(show: "Show", chains: "Chains") -> None:
    """Say what would be run; for `--dry-run`."""
    from sslcli.config.presets import config_hash

    plan = chains.plan
    count, steps = len(plan.labels), plan.settings.steps
    counts = {"chains": count, "steps": steps, "gradients": count * steps}
    show.table("", ("what", "number"), list(counts.items()))
    config = config_hash(chains.run.config)
    show.result(dry_run=True, **counts, **plan.facts(), config_hash=config)
