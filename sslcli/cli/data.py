"""`ssl data`: which data sets there are, and what is wrong with yours."""

from typing import Annotated

from typer import Argument, Option, Typer

from sslcli.cli import options

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
    show.result(data=found)


@app.command("check")
def check(
    data: Annotated[str, Argument(metavar="DATA", help="Anything that --data takes.")],
    data_root: options.DataRoot = None,
    download: options.Download = False,
    white_point: Annotated[
        int, Option(min=1, max=65_535, help="White of sixteen bits, as data.white_point says it.")
    ] = 65_535,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read every image and report all that is wrong with a data set in one go.

    Exits with 3 when something is an error.

    ssl data check photos/
    """
    from sslcli.cli.reports.data import show_report
    from sslcli.cli.show import Show
    from sslcli.data.sources.check import check as check_data

    show = Show("data check", as_json=json, quiet=quiet)
    bar = show.bar("reading")
    root = data_root or "data"
    show_report(
        check_data(data, root=root, download=download, white_point=white_point, progress=bar), show
    )
