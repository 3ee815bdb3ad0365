"""`ssl bench`: where the time of a training step goes on this machine."""

from typing import TYPE_CHECKING, Annotated

from sslcli.cli import options

if TYPE_CHECKING:
    from sslcli.cli.show import Show
    from sslcli.workflows.bench import BenchResult


def bench(
    method: options.Method = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    set_: options.Set = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    steps: Annotated[
        int | None,
        options.run(
            "--steps",
            min=3,
            help="Steps timed of each phase.",
            show_default="as many as 8 seconds hold, 3 to 30",
        ),
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Time the phases of a training step, one by one and in the loop, and name the bottleneck.

    Nothing is kept of what is trained. Times are medians; every image of a step counts once,
    however many views it has.

    ssl bench --method simsiam --data photos/
    """
    from sslcli.cli.show import Show
    from sslcli.workflows import bench as workflow

    show = Show("bench", as_json=json, quiet=quiet)
    found = workflow.bench(
        method, preset=preset, config=config, overrides=set_ or [], data=data,
        data_root=data_root, download=download, steps=steps, device=device, precision=precision,
        listener=show,
    )  # fmt: skip
    _show(found, show)


def _show(found: "BenchResult", show: "Show") -> None:
    from sslcli.cli.words import as_typed

    times, remedy = found.times, as_typed(found.remedy)
    show.table("", ("phase", "ms a step", f"{found.rows}/s", "what it is"), _rows(found))
    show.data(f"bottleneck: {times.bottleneck}")
    show.data(f"remedy: {remedy}")
    show.result(
        preset=found.preset,
        device=found.device,
        precision=found.precision,
        batch_size=times.images,
        steps=times.steps,
        threads=found.threads,
        workers=found.workers,
        mode=found.mode,
        phases={name: _facts(seconds, found) for name, seconds in times.parts.items()},
        sum_of_parts=_facts(times.total, found),
        loader=_facts(times.loader, found),
        loop=_facts(times.loop, found),
        hidden=times.hidden,
        spread=times.spread,
        bottleneck=times.bottleneck,
        remedy=remedy,
    )


def _facts(seconds: float, found: "BenchResult") -> dict[str, float | None]:
    return {"seconds": seconds, "images_per_second": found.rate(seconds)}


def _rows(found: "BenchResult") -> list[tuple[str, str, str, str]]:
    times = found.times
    rows = [(name, seconds, found.meanings[name]) for name, seconds in times.parts.items()]
    rows += [
        ("sum of the parts", times.total, "a step in which nothing overlaps"),
        ("loader alone", times.loader, "batches as the loop gets them, while nobody trains"),
        ("whole step", times.loop, f"in the loop, which {_overlap(times.hidden)}"),
    ]
    return [
        (name, f"{1e3 * seconds:.2f}", _rate(found.rate(seconds)), what)
        for name, seconds, what in rows
    ]


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}"


def _overlap(hidden: float) -> str:
    if hidden >= 0:
        return f"hides {100 * hidden:.0f} % of the sum"
    return f"adds {-100 * hidden:.0f} % to the sum"
