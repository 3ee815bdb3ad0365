"""`ssl attention`: where a vision transformer looks."""

from typing import Annotated

from sslcli.cli import options


def attention(
    ckpt: options.Checkpoint,
    count: Annotated[
        int,
        options.what(
            "--count", min=1, max=64, help="Images, drawn from the test part by the seed."
        ),
    ] = 8,
    out: Annotated[
        str | None,
        options.output(
            "--out",
            metavar="FILE",
            help="The PNG to write.",
            show_default="figures/attention.png in the run",
        ),
    ] = None,
    data: options.Data = None,
    test: options.Test = None,
    encoder: options.Encoder = None,
    preset: options.PresetOf = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw the attention of the class token in a vision transformer's last block, head by head.

    A row an image: the image, the mean over heads, then each head; each map is scaled to its own
    largest weight. Larger images give finer maps: --set data.image_size=448.

    ssl attention runs/dino-photos --data photos/ --count 8 --out attention.png
    """
    from sslcli.cli.publish import open_run
    from sslcli.cli.show import Show

    show = Show("attention", as_json=json, quiet=quiet)
    publisher = open_run(
        ckpt, show, labelled=False, data=data, test=test, data_root=data_root, download=download,
        overrides=set_ or [], encoder=encoder, preset=preset, seed=seed, device=device,
        dry_run=dry_run,
    )  # fmt: skip
    if dry_run:
        publisher.plan()
        return
    from sslcli.workflows import attention as workflow

    found = workflow.attention(publisher.run, count=count, out=out, listener=show)
    weights = found.patch_weight_by_head
    show.table("", ("head", "weight of patches"), list(enumerate(weights, 1)))
    show.result(
        path=str(found.path),
        figures=[str(found.path)],
        shown=found.images,
        patch_weight_by_head=weights,
        unreadable=found.unreadable,
    )
