from itertools import permutations

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from sslcli.data.images import color
from sslcli.data.images.blur import auto_kernel, gaussian_blur

TOLERANCE = 1e-5  # of images in [0, 1]
FUNCTIONS = (
    reference.adjust_brightness,
    reference.adjust_contrast,
    reference.adjust_saturation,
    reference.adjust_hue,
)
IDENTITY = (1.0, 1.0, 1.0, 0.0)


def images(count=2, size=12):
    """Random images with every hue, exact greys, black, white and saturated pixels."""
    torch.manual_seed(0)
    pixels = torch.rand(count, 3, size, size)
    pixels[:, :, 0] = pixels[:, :1, 0]
    pixels[:, :, 1] = pixels[:, :, 1].round()
    pixels[:, 1:, 2] = pixels[:, 1:2, 2]  # two channels equal: the corners of the hexagon
    pixels[:, :2, 3] = pixels[:, :1, 3]
    return pixels


def check(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("shift", [-0.5, -0.37, -1 / 3, -0.1, 0.0, 1e-4, 1 / 6, 0.25, 0.5])
def test_hue_equals_torchvision(shift):
    pixels = images()
    ours = color.shift_hue(pixels.clone(), torch.tensor([shift, 0.0]))
    check(ours[0], reference.adjust_hue(pixels[0], shift))
    check(ours[1], pixels[1])


@pytest.mark.parametrize("operation", range(4))
@pytest.mark.parametrize("factor", [0.0, 0.35, 0.5])
def test_each_operation_of_the_jitter_equals_torchvision(operation, factor):
    pixels = images(1)
    factor = factor if operation == 3 else 2 * factor
    factors = torch.tensor([IDENTITY])
    factors[0, operation] = factor
    ours = color.jitter(pixels.clone(), factors, torch.arange(4)[None])
    check(ours[0], FUNCTIONS[operation](pixels[0], factor))


def test_jitter_equals_torchvision_in_every_order():
    orders = list(permutations(range(4)))
    torch.manual_seed(1)
    factors = torch.rand(24, 4) * torch.tensor([1.0, 1.0, 1.0, 0.8]) + torch.tensor(
        [0.5, 0.5, 0.5, -0.4]
    )
    pixels = images(24)
    ours = color.jitter(pixels.clone(), factors, torch.tensor(orders))
    for n, order in enumerate(orders):
        theirs = pixels[n]
        for operation in order:
            theirs = FUNCTIONS[operation](theirs, factors[n, operation].item())
        check(ours[n], theirs)


def test_grayscale_solarize_and_mirror_equal_torchvision():
    pixels = images(1)
    check(color.grayscale(pixels.clone())[0], reference.rgb_to_grayscale(pixels[0], 3))
    check(color.solarize(0.5, pixels.clone())[0], reference.solarize(pixels[0], 0.5))
    check(color.mirror(pixels.clone())[0], reference.horizontal_flip(pixels[0]))


@pytest.mark.parametrize(("size", "kernel"), [(12, 3), (32, 3), (70, 23), (12, 23)])
def test_blur_equals_torchvision(size, kernel):
    pixels, sigma = images(3, size), torch.tensor([0.1, 0.8, 2.0])
    ours = gaussian_blur(kernel, pixels.clone(), sigma)
    for n in range(3):
        theirs = reference.gaussian_blur(pixels[n], [kernel] * 2, [sigma[n].item()] * 2)
        check(ours[n], theirs)


def test_automatic_kernel_is_a_tenth_made_odd():
    assert [auto_kernel(size) for size in (18, 32, 64, 96, 224)] == [3, 3, 7, 9, 23]


@pytest.mark.parametrize("active", [[True, False, True], [False] * 3, [True] * 3])
def test_apply_where_leaves_the_others_alone(active):
    pixels, shift = images(3), torch.tensor([0.1, 0.2, 0.3])
    ours, every = pixels.clone(), color.shift_hue(pixels.clone(), shift)
    color.apply_where(torch.tensor(active), color.shift_hue, ours, shift)
    for n, is_active in enumerate(active):
        assert torch.equal(ours[n], every[n] if is_active else pixels[n])


def test_large_images_are_changed_one_at_a_time_and_alike(monkeypatch):
    torch.manual_seed(2)
    pixels, active = images(24), torch.rand(24) < 0.7
    factors = torch.tensor([0.6, 0.6, 0.6, -0.1]) + torch.rand(24, 4) * 0.8
    order = torch.tensor(list(permutations(range(4))))
    together, apart = pixels.clone(), pixels.clone()
    color.apply_where(active, color.jitter, together, factors, order)
    monkeypatch.setattr(color, "_LARGE", 1)
    color.apply_where(active, color.jitter, apart, factors, order)
    check(apart, together)
    assert torch.equal(apart[~active], pixels[~active])
