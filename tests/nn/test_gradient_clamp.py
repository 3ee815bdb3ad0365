import pytest
import torch
from torch import nn

from sslcli.nn.gradient_clamp import GradientClamp


def clamped(gradients):
    """Return what a weight's gradients become, one step after the other."""
    weight = nn.Parameter(torch.zeros(1))
    clamp, seen = GradientClamp([weight], sigmas=3.0, floor=0.1, decay=0.999), []
    for gradient in gradients:
        weight.grad = torch.tensor([gradient])
        clamp([weight])
        seen.append(weight.grad.item())
    return seen


def test_the_first_bound_is_the_floor():
    assert clamped([5.0]) == pytest.approx([0.1])
    assert clamped([-0.05]) == pytest.approx([-0.05])


def test_later_bounds_follow_adams_second_moment():
    weight = nn.Parameter(torch.zeros(1))
    adam = torch.optim.Adam([weight], betas=(0.0, 0.999))
    clamp = GradientClamp([weight], sigmas=3.0, floor=0.1, decay=0.999)
    for step, gradient in enumerate([0.05, -0.2, 0.3, 9.0, -9.0], start=1):
        square = adam.state[weight]["exp_avg_sq"].item() if step > 1 else 0.0
        bound = 3 * (square / (1 - 0.999**step)) ** 0.5 + 0.1  # beta2's power is at t, not t - 1
        weight.grad = torch.tensor([gradient])
        clamp([weight])
        assert weight.grad.item() == pytest.approx(max(-bound, min(bound, gradient)), rel=1e-4)
        adam.step()
