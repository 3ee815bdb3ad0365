import numpy as np
import pytest

from sslcli.config.data import SeedsConfig
from sslcli.data.sources.base import ArraySource
from sslcli.data.sources.seed_patches import SeedPatches, gradient_energy, weighted_choice
from sslcli.errors import ConfigError, DataError

CONFIG = SeedsConfig(count=6, side=4, surround=6)


def images(count=8, size=10):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return ArraySource("noise", pixels)


def test_seeds_are_patches_with_what_surrounds_them():
    base = images()
    patches = SeedPatches(base, CONFIG, seed=0)
    assert len(patches) == 6
    image, top, left = patches.places[2].tolist()
    inner = patches.load(2)[1:5, 1:5]
    np.testing.assert_array_equal(inner, base.load(image)[top : top + 4, left : left + 4])
    assert patches.load(2).shape == (6, 6, 3)
    assert "patch at row" in patches.describe(2)


def test_a_patch_at_the_border_is_surrounded_by_its_mirror_image():
    base = images(size=4)
    patch = SeedPatches(base, CONFIG, seed=0).load(0)
    np.testing.assert_array_equal(patch[0], patch[1])


def test_seeds_are_the_same_for_a_seed_and_differ_for_another():
    places = [SeedPatches(images(), CONFIG, seed).places for seed in (0, 0, 1)]
    np.testing.assert_array_equal(places[0], places[1])
    assert not np.array_equal(places[0], places[2])
    prints = {SeedPatches(images(), CONFIG, seed).fingerprint for seed in (0, 0, 1)}
    assert len(prints) == 2


def test_flat_patches_are_rare():
    pixels = images(count=40).pixels.copy()
    pixels[::2] = 128
    chosen = SeedPatches(ArraySource("half flat", pixels), CONFIG, seed=0)
    assert (chosen.places[:, 0] % 2 == 1).all()


def test_weights_decide_how_often_a_place_is_drawn():
    generator = np.random.default_rng(0)
    first = [weighted_choice(np.array([3.0, 1.0]), 1, generator)[0] == 0 for _ in range(4000)]
    assert np.mean(first) == pytest.approx(0.75, abs=0.03)


def test_the_energy_of_a_ramp_is_its_slope_squared():
    ramp = np.tile(np.arange(0, 40, 5, dtype=np.uint8)[None, :, None], (8, 1, 3))
    assert gradient_energy(ramp) == pytest.approx(25.0)


def test_more_seeds_than_there_are_places_is_an_error():
    with pytest.raises(ConfigError, match=r"seeds are more than"):
        SeedPatches(images(), SeedsConfig(count=100, side=4, surround=4), seed=0)


def test_images_smaller_than_a_patch_are_an_error():
    with pytest.raises(DataError, match="can be cut"):
        SeedPatches(images(size=3), CONFIG, seed=0)
