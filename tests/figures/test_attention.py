import numpy as np
import torch
from PIL import Image

from sslcli.figures.attention import attention_figure


def colours(path):
    """Return the share of the picture that is of viridis' lightest yellow and darkest violet."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    return [
        float((np.abs(pixels - colour).sum(axis=1) < 12).mean())
        for colour in ((253, 231, 37), (68, 1, 84))
    ]


def test_each_map_is_stretched_from_zero_to_its_own_largest_weight(tmp_path):
    maps = torch.zeros(1, 2, 2, 2)
    maps[0, 0, 0, 0], maps[0, 1, 0, 0] = 0.5, 0.001
    attention_figure(torch.full((1, 3, 4, 4), 0.5), maps, tmp_path / "folder" / "maps.png")
    light, dark = colours(tmp_path / "folder" / "maps.png")
    assert 0.05 < light < dark
    assert abs(dark / light - 3) < 0.3  # one patch of four in each of three maps


def test_a_row_an_image_and_a_column_a_head(tmp_path):
    def shape(images, heads):
        path = tmp_path / f"{images}-{heads}.png"
        attention_figure(torch.rand(images, 3, 4, 4), torch.rand(images, heads, 2, 2), path)
        with Image.open(path) as image:
            return image.size

    assert shape(3, 4)[1] > 2 * shape(1, 4)[1]
    assert shape(1, 4)[0] == 2 * shape(1, 1)[0]
