"""Show a data set's report."""

from dataclasses import asdict

from sslcli.cli.show import Show
from sslcli.data.check import Report
from sslcli.errors import DataError


def show_report(report: Report, show: Show) -> None:
    """Print a report; raise DataError when something in it is an error."""
