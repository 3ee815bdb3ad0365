"""Tables on terminals, wide and narrow."""

import io
import time

import pytest
from rich.console import Console

from sslcli.cli.tables import fitted

COLUMNS = ("score", "set", "auroc", "aupr_in", "aupr_out", "fpr95_in", "95% interval")
ROWS = [
    ("relative-mahalanobis", "my-photos-of-summer", "0.9134", "0.8977", "0.9012", "0.1234",
     "[0.9001, 0.9267]"),
    ("knn", "noise", "1.0000", "1.0000", "3e-05", "0.0000", "[0.9999, 1.0000]"),
]  # fmt: skip


def printed(width, columns=COLUMNS, rows=ROWS):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(fitted("", columns, rows, width), markup=False)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_numbers_are_never_broken(width):
    text = printed(width)
    for row in ROWS:
        assert all(cell in text for cell in row[2:])
    assert max(map(len, text.splitlines())) <= width


def test_names_are_folded_before_rows_are_stacked():
    rows = [("a-name-that-goes-on-and-on-and-on", "0.9134", "0.8977")]
    wide, narrow = (printed(width, COLUMNS[:3], rows) for width in (60, 36))
    assert rows[0][0] in wide
    assert rows[0][0] not in narrow
    assert "auroc" in narrow.splitlines()[1]
    assert "0.9134" in narrow


def test_a_metric_column_of_words_and_numbers_keeps_its_numbers():
    text = printed(
        24, ("metric", "value"), [("m" * 30, "0.123456789"), ("note", "some words here")]
    )
    assert "0.123456789" in text


def test_a_long_cell_takes_no_time():
    began = time.monotonic()
    assert "x" in printed(80, ("name", "value"), [("1" * 5000 + "x", "1")])
    assert time.monotonic() - began < 1
