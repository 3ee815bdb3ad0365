"""The corruptions against slow references: SciPy, Pillow, colorsys, the definitions themselves."""

import colorsys
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from sslcli.errors import UsageError
from sslcli.evaluate.robust import blur, digital, noise, weather
from sslcli.evaluate.robust.corruptions import CORRUPTIONS, SEVERITIES, corrupt, named_corruption
from sslcli.evaluate.robust.draws import Draws

# The levels of these are kinds, or weaken as others strengthen, in the authors' code too.
NOT_ORDERED = {"glass-blur", "elastic", "saturate"}


def photos(count=6, size=32):
    """Return smooth coloured images, whole levels of 255."""
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(count, 3, size, size, generator=generator)
    return (blur.smooth(rough, 2.0) * 2.5 - 0.75).clamp(0, 1).mul(255).round() / 255


ROWS = torch.arange(6)
DRAWS = Draws(0, ROWS, 300)


def differences(corruption, size=32):
    images = photos(size=size)
    return [
        (corrupt(images, corruption, severity, ROWS, 0) - images).square().mean().item()
        for severity in range(1, SEVERITIES + 1)
    ]


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda each: each.name)
def test_the_change_grows_with_the_severity(corruption):
    changes = differences(corruption)
    assert min(changes) > 0
    assert corruption.name in NOT_ORDERED or all(b >= a * 0.999 for a, b in pairwise(changes))
    assert len(set(changes)) >= 4  # no level was written twice


@pytest.mark.parametrize("size", [8, 32, 40])
@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda each: each.name)
def test_images_stay_whole_levels_and_depend_on_seed_and_row_alone(corruption, size):
    images = photos(size=size)
    whole = corrupt(images, corruption, 5, ROWS, 0)
    assert 0 <= whole.min() <= whole.max() <= 1
    torch.testing.assert_close(whole * 255, (whole * 255).round(), rtol=0, atol=1e-4)
    part = corrupt(images[2:4], corruption, 5, ROWS[2:4], 0)
    torch.testing.assert_close(part, whole[2:4], rtol=0, atol=1.01 / 255)
    assert torch.equal(corrupt(images, corruption, 5, ROWS, 0), whole)


def test_another_seed_changes_what_is_random_and_nothing_else():
    images = photos()
    changed = {
        each.name
        for each in CORRUPTIONS
        if not torch.equal(corrupt(images, each, 3, ROWS, 0), corrupt(images, each, 3, ROWS, 1))
    }
    assert changed == {
        *("gaussian-noise", "shot-noise", "impulse-noise", "speckle-noise", "glass-blur"),
        *("motion-blur", "snow", "fog", "elastic"),
    }


def test_streams_of_random_numbers_are_apart():
    assert len({each.stream for each in CORRUPTIONS}) == len(CORRUPTIONS)


def test_poisson_counts_are_scipys_quantiles():
    images, photons = photos(), 75.0
    found = noise.shot_noise(images, photons, DRAWS)
    uniform = DRAWS.uniform(0, 3, 32, 32).double().numpy()
    rates = (images * 255).round().double().numpy() / 255 * photons
    expected = np.maximum(stats.poisson.ppf(uniform, rates), 0)
    assert np.abs(found.numpy() * photons - expected).max() < 1e-3
    assert found.sub(images).square().mean().item() == pytest.approx(
        images.mean().item() / photons, rel=0.05
    )


def test_noises_have_their_moments():
    images = photos().mul(0).add(0.5)
    added = noise.gaussian_noise(images, 0.08, DRAWS) - images
    assert added.std().item() == pytest.approx(0.08, rel=0.02)
    assert (noise.speckle_noise(images, 0.2, DRAWS) - images).std().item() == pytest.approx(
        0.1, rel=0.02
    )
    hit = noise.impulse_noise(images, 0.07, DRAWS)
    assert (hit == 1).float().mean().item() == pytest.approx(0.035, rel=0.1)
    assert (hit == 0).float().mean().item() == pytest.approx(0.035, rel=0.1)


@pytest.mark.parametrize("edge", ["nearest", "mirrored"])
def test_gaussian_blur_is_scipys(edge):
    images, mode = photos(), {"nearest": "nearest", "mirrored": "reflect"}[edge]
    expected = ndimage.gaussian_filter(images.numpy(), (0, 0, 1.3, 1.3), truncate=3.0, mode=mode)
    found = blur.smooth(images, 1.3, truncate=3.0, edge=edge)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_defocus_averages_over_a_softened_disk():
    point = torch.zeros(1, 3, 9, 9)
    point[:, :, 4, 4] = 1
    spread = blur.defocus_blur(point, (1.0, 0.2), DRAWS)[0, 0]
    beside = math.exp(-0.5 / 0.2**2)
    middle, side = 1 / (1 + 2 * beside), beside / (1 + 2 * beside)
    assert spread[4, 4].item() == pytest.approx((middle**2 + 4 * middle * side) / 5, rel=1e-5)
    assert spread.sum().item() == pytest.approx(1, rel=1e-5)


def test_glass_moves_pixels_by_one_up_or_left():
    places = torch.arange(100.0).view(1, 1, 10, 10).expand(2, 3, -1, -1) / 255
    moved = blur.glass_blur(places, (0.05, 1, 1), Draws(0, torch.arange(2), 305)) * 255
    jump = (places * 255 - moved).round()[:, 0]
    assert set(jump.flatten().tolist()) == {0.0, 1.0, 10.0, 11.0}
    assert (jump[:, :2] == 0).all()
    assert (jump[:, :, :2] == 0).all()


def test_a_streak_follows_its_angle():
    point = torch.zeros(2, 1, 21, 21)
    point[:, :, 10, 10] = 1
    found = blur.streaked(point, (2, 2.0), torch.tensor([0.0, 90.0]))
    weights = (-0.5 * (torch.arange(5) / 2.0) ** 2).exp()
    expected = weights / weights.sum()
    torch.testing.assert_close(found[0, 0, 10, 6:11].flip(0), expected)
    torch.testing.assert_close(found[1, 0, 6:11, 10].flip(0), expected)


@pytest.mark.parametrize("factor", [1.0, 1.06, 1.13, 1.25])
def test_zooming_is_scipys(factor):
    images = photos(2)
    cut = math.ceil(32 / factor)
    top = (32 - cut) // 2
    middle = images[:, :, top : top + cut, top : top + cut].numpy()
    large = ndimage.zoom(middle, (1, 1, factor, factor), order=1)
    trim = (large.shape[2] - 32) // 2
    expected = large[:, :, trim : trim + 32, trim : trim + 32]
    np.testing.assert_allclose(blur.zoomed(images, factor), expected, atol=1e-5)


def test_fog_is_a_whole_range_of_grey():
    cloud = weather.plasma(32, 2.0, DRAWS)
    assert cloud.shape == (6, 32, 32)
    assert cloud.amin(dim=(1, 2)).tolist() == [0.0] * 6
    assert cloud.amax(dim=(1, 2)).tolist() == [1.0] * 6
    near = (cloud - cloud.roll(1, 2)).square().mean()
    far = (cloud - cloud.roll(16, 2)).square().mean()
    assert near < far / 2  # it is a cloud, not noise


def in_hsv(images, change):
    """Change each pixel (hue, saturation, value) by Python's own conversion."""
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3).double().tolist()
    changed = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*each))) for each in pixels]
    count, _, height, width = images.shape
    return torch.tensor(changed).view(count, height, width, 3).permute(0, 3, 1, 2)


def test_brightness_and_saturation_are_those_of_hsv():
    images = photos(2, 8)
    images[0, :, 0, 0], images[0, :, 0, 1], images[0, :, 0, 2] = 0, 0.5, 1  # greys
    brighter = in_hsv(images, lambda h, s, v: (h, s, min(v + 0.3, 1)))
    torch.testing.assert_close(weather.brightness(images, 0.3, DRAWS), brighter)
    for factor, more in ((0.1, 0.0), (2.5, 0.2)):
        other = in_hsv(images, lambda h, s, v, f=factor, m=more: (h, min(s * f + m, 1), v))
        found = digital.saturate(images, (factor, more), DRAWS)
        torch.testing.assert_close(found, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("share", [0.95, 0.65])
def test_pixelation_is_pillows(share, size):
    images = photos(3, size)
    for image, found in zip(images, digital.pixelate(images, share, DRAWS), strict=True):
        pixels = image.mul(255).round().byte().permute(1, 2, 0).numpy()
        small = Image.fromarray(pixels).resize((int(size * share),) * 2, Image.Resampling.BOX)
        expected = np.asarray(small.resize((size, size), Image.Resampling.BOX))
        np.testing.assert_allclose(found.permute(1, 2, 0) * 255, expected, atol=1e-3)


def test_the_elastic_field_is_interpolated_as_scipy_does():
    images = photos(2)
    places = torch.rand(2, 32, 32, 2, generator=torch.Generator().manual_seed(1)) * 38 - 3
    found = digital.sampled(images, places, align_corners=False)
    for image, at, result in zip(images, places, found, strict=True):
        coordinates = at.flip(-1).permute(2, 0, 1).numpy()  # y, x
        expected = [ndimage.map_coordinates(c, coordinates, order=1, mode="reflect") for c in image]
        np.testing.assert_allclose(result, np.stack(expected), atol=1e-4)


def test_corners_go_where_they_are_drawn():
    draws = Draws(0, torch.arange(2), 312)
    corners = torch.tensor([[26.0, 26.0], [26.0, 6.0], [6.0, 6.0]])
    moved = corners + (2 * draws.uniform(0, 3, 2) - 1) * 2.5
    back = torch.cat([moved, torch.ones(2, 3, 1)], dim=2) @ digital.corner_map(32, 32, 2.5, draws)
    torch.testing.assert_close(back, corners.expand(2, 3, 2), atol=1e-4, rtol=0)


def test_an_unknown_corruption_is_told_the_nearest_name():
    with pytest.raises(UsageError) as caught:
        named_corruption("glas-blur")
    assert "did you mean glass-blur?" in caught.value.hint
