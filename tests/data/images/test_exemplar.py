"""Exemplar-CNN's transformations: neutral parameters, closed forms, and draws."""

import colorsys
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sslcli.config.presets import resolve
from sslcli.data.images.draws import Samples
from sslcli.data.images.exemplar import (
    Vectors,
    change_hsv,
    draw_vectors,
    from_hsv,
    to_hsv,
    transform,
    warp,
)
from sslcli.data.images.views import Views

MEAN = (0.5, 0.5, 0.5)
CONFIG = resolve("exemplar-cnn/stl10").config.views[0].exemplar


def neutral(count=2):
    zeros, ones = torch.zeros(count, 2), torch.ones(count, 2)
    none = torch.zeros(count)
    return Vectors(zeros, none + 1, none, torch.ones(count, 3), ones, ones, zeros, none)


def pixels(size=12):
    torch.manual_seed(0)
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)


def test_neutral_parameters_show_the_window_as_it_is():
    config = CONFIG.model_copy(update={"window": 8 / 12})
    images, flip = pixels(), torch.tensor([False, True])
    found = transform(images, 8, config, neutral(), flip, MEAN)
    window = images[:, :, 2:10, 2:10] / 255
    torch.testing.assert_close(found[0], window[0], atol=2e-4, rtol=0)  # the basis has 4 digits
    torch.testing.assert_close(found[1], window[1].flip(-1), atol=2e-4, rtol=0)


def test_a_shift_moves_what_is_seen_down_and_right():
    shifted = replace(neutral(), shift=torch.tensor([[0.25, 0.0], [0.0, 0.25]]))
    images = pixels() / 255
    found = warp(images, 8, 8 / 12, shifted)
    torch.testing.assert_close(found[0], images[0, :, 0:8, 2:10])
    torch.testing.assert_close(found[1], images[1, :, 2:10, 0:8])


def test_a_right_angle_turns_counter_clockwise():
    turned = replace(neutral(), angle=torch.full((2,), math.pi / 2))
    images = pixels() / 255
    found = warp(images, 8, 8 / 12, turned)
    torch.testing.assert_close(found, torch.rot90(images[:, :, 2:10, 2:10], 1, (2, 3)))


def test_scale_makes_things_larger():
    larger = replace(neutral(), scale=torch.full((2,), 2.0))
    square = torch.zeros(2, 3, 16, 16)
    square[:, :, 6:10, 6:10] = 1
    found = warp(square, 16, 1.0, larger).sum().item()
    assert found == pytest.approx(4 * square.sum().item(), rel=0.1)


def test_hsv_is_colorsyss_both_ways():
    images = pixels() / 255
    hue, saturation, value = to_hsv(images)
    for n, row in ((0, 3), (1, 7)):
        expected = colorsys.rgb_to_hsv(*images[n, :, row, 5].tolist())
        found = (hue[n, row, 5].item(), saturation[n, row, 5].item(), value[n, row, 5].item())
        assert found == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(from_hsv(hue, saturation, value), images)


def test_grey_pixels_stay_grey_whatever_their_power_is():
    grey = (pixels()[:, :1] / 255).expand(-1, 3, -1, -1)
    strong = replace(neutral(), power=torch.full((2, 2), 4.0))
    torch.testing.assert_close(change_hsv(grey, strong), grey**4)


def test_a_row_has_as_many_parameter_vectors_as_asked():
    config = CONFIG.model_copy(update={"vectors": 3})
    rows = torch.tensor([7, 8])
    seen = {
        tuple(draw_vectors(Samples(0, epoch, rows, torch.zeros_like(rows)), config).angle.tolist())
        for epoch in range(60)
    }
    assert len({first for first, _ in seen}) == 3
    assert len({second for _, second in seen}) == 3


def test_parameters_stay_in_their_ranges():
    rows = torch.arange(2000)
    drawn = draw_vectors(Samples(0, 0, rows, torch.zeros_like(rows)), CONFIG)
    assert drawn.shift.abs().max() <= 0.2
    assert math.degrees(drawn.angle.abs().max()) <= 20.001
    for name, low, high in (("scale", 0.7, 1.4), ("components", 0.5, 2), ("power", 0.25, 4)):
        values = getattr(drawn, name)
        assert low * 0.999 <= values.min() < low * 1.1
        assert high * 0.9 < values.max() <= high * 1.001


def test_views_of_streamed_images_show_the_same_window():
    config = resolve("exemplar-cnn/stl10").config
    views = Views(config.views, config.data.pixels, 0)
    image = np.ascontiguousarray(pixels(56)[0].permute(1, 2, 0).numpy())
    rows = torch.tensor([4])
    (whole,) = views(torch.from_numpy(image).permute(2, 0, 1)[None], rows, 1)
    crops = [torch.from_numpy(crop).permute(2, 0, 1)[None] for crop in views.cut(image, 4, 1)]
    (streamed,) = views.finish(crops, rows, 1)
    assert whole.shape == (1, 3, 32, 32)
    torch.testing.assert_close(streamed, whole)
