import pytest
import torch
from PIL import Image

from sslcli.evaluate.calibration.binning import bin_events
from sslcli.figures.reliability import reliability_diagram


def bins(seed, scheme="width"):
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(200, generator=generator, dtype=torch.float64)
    return bin_events(probability, torch.rand(200, generator=generator) < probability, 10, scheme)


def test_a_panel_is_drawn_for_each_classifier(tmp_path):
    reliability_diagram({"a": bins(0)}, tmp_path / "new" / "one")
    reliability_diagram({"a": bins(0), "b": bins(1, "mass")}, tmp_path / "two.tmp")
    with Image.open(tmp_path / "new" / "one") as one, Image.open(tmp_path / "two.tmp") as two:
        assert one.format == two.format == "PNG"
        assert two.width > 1.8 * one.width


def test_the_drawing_depends_on_the_bins(tmp_path):
    for seed in (0, 1):
        reliability_diagram({"a": bins(seed)}, tmp_path / str(seed))
    assert (tmp_path / "0").read_bytes() != (tmp_path / "1").read_bytes()


def test_nothing_to_draw_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(ValueError, match="at least one panel"):
        reliability_diagram({}, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_bins_of_equal_count_lie_where_their_samples_lie():
    found = bins(0, "mass")
    assert found.count.tolist() == [20] * 10
    assert (found.lower[1:] >= found.upper[:-1]).all()
    assert ((found.lower <= found.confidence) & (found.confidence <= found.upper)).all()
