"""`ssl knn-eval`: weighted nearest neighbours on frozen features."""

from typing import Annotated

from sslcli.cli import options

BASELINES = ("top1_untrained", "top1_pixels")
GEOMETRY = ("alignment", "uniformity", "effective_rank")


def knn_eval(
    ckpt: options.Checkpoint,
    data: options.Data = None,
    test: options.Test = None,
    k: Annotated[
        int | None,
        options.what("--k", min=1, help="Neighbours that vote.", show_default="the preset's"),
    ] = None,
    temperature: Annotated[
        float | None,
        options.what(
            "--temperature",
            min=1e-6,
            help="T of the votes exp(cosine / T).",
            show_default="the preset's",
        ),
    ] = None,
    baseline: Annotated[
        bool,
        options.what("--baseline", help="Also measure the untrained encoder and raw pixels."),
    ] = False,
    geometry: Annotated[
        bool,
        options.what(
            "--geometry",
            help="Also measure alignment, uniformity and effective rank on two random views.",
        ),
    ] = False,
    shots: options.Shots = None,
    draws: options.Draws = 10,
    layers: options.Layers = None,
    tower: options.Tower = None,
    method: options.Code = None,
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
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
    """Classify the test images by a vote of the nearest training images.

    Features are L2-normalised; each of the k neighbours votes with exp(cosine / T) (Wu et al.
    2018, arXiv:1805.01978, section 3.4).

    ssl knn-eval runs/simsiam-digits --require 'top1>=0.9'
    """
    from sslcli.cli.publish import METRICS, open_run
    from sslcli.cli.show import Show
    from sslcli.cli.syntax import parse_shots
    from sslcli.evaluate.few_shot import FewShots
    from sslcli.workflows.changes import laid_under, read_out

    show = Show("knn-eval", as_json=json, quiet=quiet)
    few = FewShots(parse_shots(shots), draws)
    changes = laid_under({"evaluation.features": read_out(layers, tower)}, set_ or [])
    extra = (*few.metrics, *(BASELINES if baseline else ()), *(GEOMETRY if geometry else ()))
    publisher = open_run(
        ckpt, show, data=data, test=test, data_root=data_root, download=download,
        overrides=changes, seed=seed, device=device, precision=precision, method=method,
        encoder=encoder, preset=preset, dry_run=dry_run,
        require=require or [], metrics=(*METRICS, *extra),
    )  # fmt: skip
    if dry_run:
        publisher.plan()
        return
    from sslcli.cli.reports.classes import publish
    from sslcli.workflows import knn_eval as workflow

    result = workflow.knn_eval(
        publisher.run, k=k, temperature=temperature, baseline=baseline,
        geometry=geometry, shots=few.counts, draws=draws, listener=show,
    )  # fmt: skip
    publish(publisher, result, per_class=per_class, confusion=confusion)
