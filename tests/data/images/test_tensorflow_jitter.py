import colorsys
from itertools import permutations

import pytest
import torch

from sslcli.config.presets import resolve
from sslcli.config.views import JitterConfig
from sslcli.data.images.draws import Samples, draw
from sslcli.data.images.tensorflow_jitter import tensorflow_jitter


def images(count):
    torch.manual_seed(0)
    pixels = torch.rand(count, 3, 5, 6)
    pixels[:, :, 0] = pixels[:, :1, 0]  # greys, and with the next lines black, white and primaries
    pixels[:, :, 1] = pixels[:, :, 1].round()
    return pixels


def expected(pixels, factors, order, is_added):
    """Do what BYOL's and SimCLR's code says, pixel by pixel through HSV."""

    def through_hsv(change):
        flat = pixels.double().flatten(1).T.tolist()
        changed = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in flat]
        return torch.tensor(changed).T.reshape(pixels.shape)

    brightness, contrast, saturation, hue = factors.tolist()
    for operation in order:
        mean = pixels.mean(dim=(1, 2), keepdim=True)
        if operation == 0:
            pixels = pixels + brightness if is_added else pixels * brightness
        elif operation == 1:
            pixels = contrast * (pixels - mean) + mean
        elif operation == 2:
            pixels = through_hsv(lambda h, s, v: (h, min(s * saturation, 1.0), v))
        else:
            pixels = through_hsv(lambda h, s, v: ((h + hue) % 1, s, v))
        pixels = pixels.clamp(0, 1)
    return pixels


@pytest.mark.parametrize("is_added", [False, True])
def test_jitter_equals_the_formulas_of_tensorflow_in_every_order(is_added):
    pixels, orders = images(24), list(permutations(range(4)))
    factors = torch.rand(24, 4) * torch.tensor([1.6, 1.6, 1.6, 0.4])
    factors += torch.tensor([-0.8 if is_added else 0.2, 0.2, 0.2, -0.2])
    ours = tensorflow_jitter(is_added, pixels.clone(), factors, torch.tensor(orders))
    for n, order in enumerate(orders):
        theirs = expected(pixels[n], factors[n], order, is_added)
        torch.testing.assert_close(ours[n], theirs.float(), atol=1e-5, rtol=0)


def test_brightness_that_is_added_is_drawn_around_nothing():
    (view, *_) = resolve("byol/imagenet").config.views
    rows = torch.arange(2000)
    factors = draw(view, Samples(0, 0, rows, rows * 0).numbers()).factors
    low, high = factors.aminmax(dim=0)
    torch.testing.assert_close(low, torch.tensor([-0.4, 0.6, 0.8, -0.1]), atol=2e-3, rtol=0)
    torch.testing.assert_close(high, torch.tensor([0.4, 1.4, 1.2, 0.1]), atol=2e-3, rtol=0)


def test_only_tensorflows_form_adds_brightness():
    strengths = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    with pytest.raises(ValueError, match="add_brightness"):
        JitterConfig(**strengths, probability=0.8, add_brightness=True)


@pytest.mark.parametrize(
    ("name", "is_added"),
    [
        ("byol/imagenet", True),  # byol/utils/augmentations.py
        ("directpred/imagenet", True),
        ("directcopy/imagenet", True),
        ("simclr/imagenet", True),  # data_util.py, "simclrv1"
        ("simclr/cifar10", False),
        ("simclr-v2/imagenet", False),
    ],
)
def test_presets_of_tensorflow_and_jax_code_name_its_colours(name, is_added):
    for view in resolve(name).config.views:
        assert (view.jitter.form, view.jitter.add_brightness) == ("tensorflow", is_added)
