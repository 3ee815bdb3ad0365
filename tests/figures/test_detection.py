from pathlib import Path

import numpy as np
import pytest

from sslcli.figures.detection import roc_curves, score_histograms


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
