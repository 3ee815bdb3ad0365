import numpy as np
import pytest
import torch
from PIL import Image

from sslcli.figures.confusion import confusion_figure


@pytest.mark.parametrize("classes", [2, 25, 70])
def test_a_matrix_of_any_size_is_drawn(classes, tmp_path):
    path = tmp_path / "new" / "confusion.png"
    counts = torch.randint(9, (classes, classes)) * (torch.arange(classes) > 0)[:, None]
    confusion_figure(counts, [f"class {i}" for i in range(classes)], path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert 300 < min(image.size) < 2500


def centre_of_dark(counts, path):
    """Draw a matrix and return how far right the dark pixels of its first row of cells are."""
    confusion_figure(torch.tensor(counts), ["a", "b"], path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    upper = pixels[len(pixels) // 8 : len(pixels) // 3, : pixels.shape[1] * 2 // 3]
    return (upper < 100).nonzero()[1].mean() / pixels.shape[1]


def test_rows_are_the_right_classes_and_columns_the_given_ones(tmp_path):
    right, wrong = ([[8, 0], [0, 8]], [[0, 8], [0, 8]])
    path = tmp_path / "confusion.png"
    assert centre_of_dark(right, path) + 0.15 < centre_of_dark(wrong, path)
