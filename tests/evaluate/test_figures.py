from pathlib import Path

import pytest

from sslcli.evaluate.figures import curves

ROWS = [{"step": s, "epoch": s / 10, "loss": 1 / (s + 1), "embedding_std": 0.9} for s in range(20)]


def test_curves_are_drawn_and_differ_with_the_data(tmp_path: Path):
    curves({"a": ROWS}, ["loss", "embedding_std"], tmp_path / "new" / "one.png")
    curves({"a": ROWS, "b": ROWS[:5]}, ["loss"], tmp_path / "two.png")
    one, two = (tmp_path / "new" / "one.png").read_bytes(), (tmp_path / "two.png").read_bytes()
    assert one.startswith(b"\x89PNG")
    assert one != two


def test_rows_without_the_metric_are_passed_over(tmp_path: Path):
    curves({"a": [{"step": 0, "note": "start"}, *ROWS]}, ["loss"], tmp_path / "a.png", x="step")
    assert (tmp_path / "a.png").exists()


def test_an_unknown_metric_is_refused_and_nothing_written(tmp_path: Path):
    with pytest.raises(ValueError, match="'lost'"):
        curves({"a": ROWS}, ["lost"], tmp_path / "a.png")
    with pytest.raises(ValueError, match="at least one run"):
        curves({}, ["loss"], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
