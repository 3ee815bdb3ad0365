"""`ssl robust-eval`: how accurate a classifier stays under attack and on spoilt images."""

from typing import Annotated

from sslcli.cli import options

CORRUPTIONS = (  # a test holds them to those of `evaluate`, which imports torch
    *("gaussian-noise", "shot-noise", "impulse-noise", "defocus-blur", "glass-blur", "motion-blur"),
    *("zoom-blur", "snow", "fog", "brightness", "contrast", "elastic", "pixelate", "jpeg"),
    *("speckle-noise", "gaussian-blur", "saturate"),
)


def robust_eval(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    count: Annotated[
        int | None,
        options.data(
            "--count", min=1, help="Test images to use; the seed decides which.", show_default="all"
        ),
    ] = None,
    eps: Annotated[
        list[str] | None,
        options.what(
            "--eps",
            metavar="2,4,8",
            help="Radii of L-inf attacks: 8 or 8/255 for 8 levels of 255; or none. Repeatable.",
            show_default="1,2,4,8",
        ),
    ] = None,
    eps_l2: Annotated[
        list[str] | None,
        options.what(
            "--eps-l2",
            metavar="0.25,0.5",
            help="Radii of L2 attacks, Euclidean over images in 0 to 1; or none. Repeatable.",
            show_default="0.25,0.5,1",
        ),
    ] = None,
    steps: Annotated[int, options.what("--steps", min=1, help="PGD steps a restart.")] = 40,
    step_size: Annotated[
        float | None,
        options.what(
            "--step-size",
            metavar="X",
            help="Length of a step, as a share of the radius.",
            show_default="2.5 / steps",
        ),
    ] = None,
    restarts: Annotated[
        int,
        options.what(
            "--restarts", min=1, help="Random starts; each image keeps its best adversarial."
        ),
    ] = 5,
    autoattack: Annotated[
        bool,
        options.what(
            "--autoattack", help="Add AutoAttack at the same radii; needs the extra attack."
        ),
    ] = False,
    refine: Annotated[
        list[str] | None,
        options.what(
            "--refine",
            metavar="0,1,10",
            help="Attack JEM-k: noise and k steps up log p(x) before classifying. Repeatable.",
            show_default="the plain classifier",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        options.what(
            "--noise",
            min=0,
            metavar="X",
            help="Deviation of that noise, in the network's range of images.",
            show_default="training's",
        ),
    ] = None,
    replicas: Annotated[
        int,
        options.what(
            "--replicas",
            min=1,
            help="Draws of the noise that JEM-k's attack averages a gradient over.",
        ),
    ] = 5,
    verdicts: Annotated[
        int,
        options.what(
            "--verdicts", min=1, help="Draws whose mean logits decide whether JEM-k is right."
        ),
    ] = 150,
    corruption: Annotated[
        list[str] | None,
        options.what(
            "--corruption",
            metavar="NAME",
            help=f"{', '.join(CORRUPTIONS)}; or none. Repeatable.",
            show_default="all",
        ),
    ] = None,
    method: options.Code = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    precision: Annotated[
        options.Arithmetic,
        options.device(
            "--precision",
            help="Arithmetic; less than fp32 rounds small steps of attacks away.",
        ),
    ] = "fp32",
    require: options.Require = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a classifier under PGD, AutoAttack and the corruptions of CIFAR-10-C.

    CKPT is any run: one without a classifier gets linear-eval's probe, attacked through the
    encoder. Metrics are named top1, top1/linf-8, top1/l2-0.5,
    top1/autoattack/linf-8, top1/refine-10/linf-8, top1/fog/3, top1/fog (the mean over severities)
    and top1/corrupted (over corruptions). zero_gradient is the largest share of images that hold
    against an attack for want of a gradient. Corruptions and AutoAttack meet the plain classifier.

    ssl robust-eval runs/jem-digits --eps 2,4,8 --refine 0,1,10 --require 'top1/fog>=0.8'
    """
    from sslcli.cli.publish import open_run
    from sslcli.cli.reports.robustness import publish
    from sslcli.cli.show import Show
    from sslcli.cli.syntax import parse_names, parse_radii, parse_refinements
    from sslcli.workflows.robust_eval import Robustness
    from sslcli.workflows.trial import make_trial

    show = Show("robust-eval", as_json=json, quiet=quiet)
    trial = make_trial(
        count=count, eps=parse_radii(eps, "--eps", levels=255),
        eps_l2=parse_radii(eps_l2, "--eps-l2", levels=1), steps=steps, step_size=step_size,
        restarts=restarts, autoattack=autoattack, refine=parse_refinements(refine), noise=noise,
        replicas=replicas, verdicts=verdicts, corruption=parse_names(corruption),
    )  # fmt: skip
    # --seed goes to the trial alone: which images are held out is the checkpoint's affair.
    publisher = open_run(
        ckpt, show, data=data, test=test, data_root=data_root, download=download,
        overrides=set_ or [], device=device, precision=precision, method=method,
        require=require or [], metrics=trial.metrics(), dry_run=dry_run,
    )  # fmt: skip
    robustness = Robustness(publisher.run, trial, seed)
    if dry_run:
        names = [tried.condition for tried in trial.tried()]
        images = {"test": len(robustness.rows)}
        counts = dict.fromkeys(names, images["test"])
        publisher.plan(counts, first="condition", does="", images=images, conditions=names)
        return
    publish(publisher, robustness.measure())
