from pathlib import Path

import numpy as np
import pytest

from sslcli.figures.detection import curves, roc_curves, score_histograms

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


def test_roc_curves_are_drawn_and_differ_with_the_data(tmp_path: Path):
    rises, straight = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    sets = {f"set {i}": {"knn": (rises, straight), "msp": (straight, rises)} for i in range(6)}
    roc_curves(sets, tmp_path / "new" / "six.png")
    roc_curves({"one": {"knn": (rises, straight)}}, tmp_path / "one.png")
    six, one = (tmp_path / "new" / "six.png").read_bytes(), (tmp_path / "one.png").read_bytes()
    assert six.startswith(b"\x89PNG")
    assert six != one


def test_histograms_take_long_tails_infinities_and_constants(tmp_path: Path):
    spread = np.random.default_rng(0).standard_cauchy(500)
    scores = {
        "tails": (spread, spread - 1),
        "infinite": (np.array([np.inf, 1.0]), np.array([-np.inf, 0.0])),
        "constant": (np.ones(3), np.ones(4)),
    }
    score_histograms(scores, ("inside", "far"), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one panel"):
        score_histograms({}, ("inside", "far"), tmp_path / "b.png")
