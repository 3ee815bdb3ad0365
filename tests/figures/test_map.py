"""Maps: who is named in the legend and who on the map itself."""

import numpy as np
import pytest
import torch
from PIL import Image

from sslcli.figures.map import embedding_map


def drawn(path, count, groups, names):
    """Draw a ring of points; return the share of pixels that are coloured, and of grey ones."""
    angle = torch.arange(count) * 2 * torch.pi / count
    points = torch.stack([angle.cos(), angle.sin()], dim=1)
    embedding_map(points, groups, names, path, title="a $ title")
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    return (spread > 60).mean(), (abs(pixels - 0x9A).max(axis=2) < 60).mean(), pixels.shape


def test_classes_are_coloured_and_rows_without_one_are_grey(tmp_path):
    groups = torch.arange(300) % 3
    coloured, _, _ = drawn(tmp_path / "a.png", 300, groups, ["a", "$b_", "c"])
    some, grey, _ = drawn(tmp_path / "b.png", 300, groups.where(groups > 0, -1), ["a", "b", "c"])
    none, all_grey, _ = drawn(tmp_path / "c.png", 300, None, ())
    assert coloured > some > none == 0
    assert all_grey > grey > 0


@pytest.mark.parametrize("classes", [2, 100, 200])
def test_any_number_of_classes_is_drawn(tmp_path, classes):
    names = [f"a class with a long name {number}" for number in range(classes)]
    coloured, _, shape = drawn(tmp_path / "a.png", 400, torch.arange(400) % classes, names)
    assert coloured > 0.001
    assert shape == (1050, 1350, 3)
