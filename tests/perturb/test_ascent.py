"""Signed gradient ascent against a slow reference, and what it must leave alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sslcli.perturb.ascent import ascend

LEVEL = 1 / 255


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, 5)
    return nn.Sequential(*layers).double()


def batch(size=6):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(size, 3, 4, 4, dtype=torch.float64, generator=generator)
    return images, torch.arange(size) % 5


def slowly(net, images, labels, radius, step_size, steps, start, sign):
    """Attack each value of each image by itself, with numbers and loops (AP, attacker.py)."""
    x = start.clone()
    for _ in range(steps):
        leaf = x.clone().requires_grad_()
        functional.cross_entropy(net(leaf), labels).backward()
        new = x.clone()
        for place in torch.cartesian_prod(*(torch.arange(n) for n in x.shape)).tolist():
            at, slope = tuple(place), leaf.grad[tuple(place)].item()
            moved = x[at].item() + sign * step_size * ((slope > 0) - (slope < 0))
            centre = images[at].item()
            moved = min(max(moved, centre - radius), centre + radius)
            new[at] = min(max(moved, 0.0), 1.0)
        x = new
    return x


@pytest.mark.parametrize("targeted", [False, True])
def test_five_steps_equal_the_slow_reference(targeted):
    net, (images, labels) = network(), batch()
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(2)).double()
    start = images + (2 * noise - 1) * 4 * LEVEL  # leaves the range in places
    aims = (labels + 2) % 5 if targeted else labels
    sign = -1 if targeted else 1

    def loss(x):
        return sign * functional.cross_entropy(net(x), aims)

    found = ascend(loss, images, 4 * LEVEL, LEVEL, 5, start)
    expected = slowly(net, images, aims, 4 * LEVEL, LEVEL, 5, start, sign)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert loss(found) > loss(images)


def test_one_step_moves_every_value_by_the_radius_up_a_linear_loss():
    images = torch.full((2, 3, 2, 2), 0.5)
    weight = torch.tensor([1.0, -2.0, 0.0]).view(3, 1, 1)
    found = ascend(lambda x: (weight * x).sum(dim=(1, 2, 3)), images, 0.1, 0.1, 1)
    torch.testing.assert_close(found, images + 0.1 * weight.sign())


def test_a_value_a_channel_bounds_each_channel_by_its_own():
    images = torch.zeros(2, 3, 2, 2)
    radius = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    highest = torch.tensor([1.0, 0.05, 1.0]).view(3, 1, 1)
    found = ascend(torch.sum, images, radius, 2 * radius, 3, bounds=(-1.0, highest))
    expected = torch.tensor([0.1, 0.05, 0.3]).view(3, 1, 1).expand_as(images)
    torch.testing.assert_close(found, expected)
    free = ascend(torch.sum, images, radius, radius, 1, bounds=None)
    torch.testing.assert_close(free, radius.expand_as(images))


def test_no_radius_and_no_step_change_nothing():
    images, _ = batch()
    assert torch.equal(ascend(torch.sum, images, 0.0, 0.5, 2), images)
    start = images + 2
    assert torch.equal(ascend(torch.sum, images, 0.1, 0.1, 0, start), start)


def test_weights_get_no_gradient_and_the_result_has_no_graph():
    net, (images, labels) = network(), batch()
    images.requires_grad_()
    with torch.no_grad():
        found = ascend(lambda x: functional.cross_entropy(net(x), labels), images, 0.1, 0.1, 2)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert images.grad is None
    assert not found.requires_grad


def test_images_of_half_precision_move_in_float32():
    images = torch.full((1, 3, 2, 2), 0.5, dtype=torch.bfloat16)
    found = ascend(lambda x: x.sum(), images, 1e-3, 1e-3, 1)
    torch.testing.assert_close(found, torch.full((1, 3, 2, 2), 0.501))
