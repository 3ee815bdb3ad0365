"""`ssl data`: which data sets there are, and what is wrong with yours."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from sslcli.cli import options

if TYPE_CHECKING:
    from sslcli.cli.show import Show
    from sslcli.workflows.run import Run

app = Typer(help="List built-in data sets; check your own.", no_args_is_help=True)


@app.command("list")
def list_(data_root: options.DataRoot = None, json: options.Json = False) -> None:
    """List the built-in data sets and whether they are here.

    ssl data list
    """
    from dataclasses import asdict

    from sslcli.cli.show import Show
    from sslcli.data.sources.check import available

    show = Show("data list", as_json=json)
    found = [asdict(each) for each in available(data_root or "data")]
    show.table("", list(found[0]), [list(row.values()) for row in found])
    show.result(sets=found)


@app.command("check")
def check(
    data: Annotated[str, Argument(metavar="DATA", help="Anything that --data takes.")],
    data_root: options.DataRoot = None,
    download: options.Download = False,
    white_point: Annotated[
        int, Option(min=1, max=65_535, help="White of sixteen bits, as data.white_point says it.")
    ] = 65_535,
    with_: Annotated[
        str | None,
        options.what(
            "--with",
            metavar="CKPT",
            help="Also look for near duplicates, leaks and outliers by this encoder's features.",
        ),
    ] = None,
    test: Annotated[
        str | None,
        options.data("--test", help="With --with: test data to compare with, for leaks."),
    ] = None,
    similarity: Annotated[
        float | None,
        options.what(
            "--similarity",
            min=-1,
            max=1,
            metavar="0.98",
            help="With --with: the cosine from which a pair is a near duplicate.",
            show_default="a rule that the data decides",
        ),
    ] = None,
    out: Annotated[
        str | None,
        options.output(
            "--out", metavar="FILE", help="With --with: a PNG of the first pairs and outliers."
        ),
    ] = None,
    method: options.Code = None,
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read every image and report all that is wrong with a data set in one go.

    Exits with 3 when something is an error.

    ssl data check photos/ --with runs/photos --out look-alikes.png
    """
    from sslcli.cli.reports.data import add_look_alikes, show_report
    from sslcli.cli.show import Show
    from sslcli.data.sources.check import check as check_data
    from sslcli.errors import UsageError

    given = {"test": test, "similarity": similarity, "out": out, "method": method}
    if not with_ and (lone := [f"--{name}" for name, value in given.items() if value is not None]):
        raise UsageError("this needs an encoder", ", ".join(lone), "name one by --with CKPT")
    show = Show("data check", as_json=json, quiet=quiet)
    root, found = data_root or "data", None
    common: dict[str, Any] = {"data_root": data_root, "download": download, "method": method}
    common |= {"data": data, "device": device, "white_point": white_point, "out": out}
    run = _opened(with_, show, **common) if with_ else None
    report = check_data(
        data, root=root, download=download, white_point=white_point, progress=show.bar("reading")
    )
    if run and report.ok:
        found = add_look_alikes(report, run, test=test, similarity=similarity, out=out)
    show_report(report, show, found)


def _opened(ckpt: str, show: "Show", *, white_point: int, out: str | None, **given: Any) -> "Run":
    """Open the checkpoint on the data; its white point stays, unless another one is given."""
    from sslcli.workflows.look_alikes import check_figure
    from sslcli.workflows.run import load

    sets = {} if white_point == 65_535 else {"data.white_point": white_point}
    run = load(ckpt, overrides=sets, listener=show, **given)
    check_figure(run, out)
    return run
