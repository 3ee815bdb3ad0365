import numpy as np
import pytest
import torch
from PIL import Image

from sslcli.figures.samples import energy_trajectory, sample_grid


def drawn(path):
    return np.asarray(Image.open(path).convert("RGB"))


def noise(count, side=8):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_one_group_is_a_square_of_pixels_enlarged_without_smoothing(tmp_path):
    images = noise(4)
    sample_grid({"": images}, tmp_path / "new" / "a.png")
    found = drawn(tmp_path / "new" / "a.png")
    assert found.shape == (137, 137, 3)  # two cells of 64 and three gaps of 3
    expected = images[3].mul(255).round().byte().permute(1, 2, 0).numpy()
    cell = found[70:134, 70:134]
    assert np.array_equal(cell, expected.repeat(8, axis=0).repeat(8, axis=1))


def test_large_images_keep_their_pixels(tmp_path):
    images = noise(1, side=80)
    sample_grid({"": images}, tmp_path / "a.png")
    expected = images[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(drawn(tmp_path / "a.png")[3:83, 3:83], expected)


def test_groups_begin_rows_whose_ends_stay_white(tmp_path):
    black = torch.zeros(20, 3, 8, 8)
    sample_grid({"one": black[:2], "many": black}, tmp_path / "a.png")
    found = drawn(tmp_path / "a.png")
    assert found.shape[0] == 3 + 3 * 67  # one row, then 16 and 4
    dark = (found[:, 48:] == 0).all(axis=2).reshape(found.shape[0], -1).sum(axis=1)
    assert [dark[at] // 64 for at in (35, 102, 169)] == [2, 16, 4]


def test_names_stand_whole_in_the_margin_whatever_they_hold(tmp_path):
    image = torch.zeros(1, 3, 8, 8)
    sample_grid({"$x_1$ % \u00e9": image, "n" * 99: image}, tmp_path / "a.png")
    found = drawn(tmp_path / "a.png")
    margin = found[:, : 8 * (24 + 2)]
    assert (margin < 128).any()
    assert (margin[:, :3] == 255).all()  # not cut off
    assert found.shape[1] == 8 * 26 + 67


def test_no_image_is_no_grid(tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        sample_grid({"a": torch.zeros(0, 3, 8, 8)}, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_trajectories_are_drawn_with_and_without_real_images(tmp_path):
    energies, real = torch.randn(50, 12), torch.randn(30)
    energy_trajectory(energies, None, "energy", tmp_path / "a.png")
    energy_trajectory(energies, real, "energy", tmp_path / "b.png")
    energy_trajectory(energies[:1, :1], real[:1], "energy", tmp_path / "c.png")
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in "abc"}) == 3
    with pytest.raises(ValueError, match="at least one step"):
        energy_trajectory(energies[:0], real, "energy", tmp_path / "d.png")
