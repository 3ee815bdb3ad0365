"""Rows of images: where each lies, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from sslcli.figures.tiles import Tile, tile_rows

RED, GREEN, BLUE = (np.full((4, 4, 3), colour, np.uint8) for colour in np.eye(3, dtype=int) * 255)


def middle_of(pixels, colour):
    """Return the mean row and column of the pixels of one pure colour."""
    return np.argwhere((pixels == colour[0, 0]).all(axis=2)).mean(axis=0)


def test_tiles_stand_in_their_row_the_first_one_apart(tmp_path):
    rows = [[Tile(RED, ("a",)), Tile(GREEN, ("0.9", "$b_"), True)], [Tile(BLUE)]]
    tile_rows(rows, tmp_path / "grid.png", heads=["encoder", "pixels"], title="100 $")
    with Image.open(tmp_path / "grid.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    (y, x), (same, right), (below, left) = (middle_of(pixels, c) for c in (RED, GREEN, BLUE))
    assert (same, left) == pytest.approx((y, x), abs=2)
    assert right > x + 1.2 * (below - y) / 1.34
    assert below > y + 100


def test_no_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        tile_rows([], tmp_path / "grid.png")
