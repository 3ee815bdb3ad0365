import math

import pytest
import torch
from golden_input import golden
from torch import Tensor

from sslcli.losses.regression import byol, negative_cosine, softmax_cross_entropy

LOSSES = [negative_cosine, byol, softmax_cross_entropy]


def slow_cosine(p: Tensor, z: Tensor) -> float:
    rows = zip(p.tolist(), z.tolist(), strict=True)
    cosines = [
        sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)
        for a, b in rows
    ]
    return -sum(cosines) / len(cosines)


def slow_cross_entropy(p: Tensor, z: Tensor) -> float:
    total = 0.0
    for a, b in zip(p.tolist(), z.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(x) for x in a))
        shares = [math.exp(x) / sum(math.exp(y) for y in b) for x in b]
        total -= sum(s * (x - log_sum) for s, x in zip(shares, a, strict=True))
    return total / len(p)


def test_negative_cosine_has_its_golden_value():
    assert negative_cosine(golden(0.7), golden(0.9)).item() == pytest.approx(
        -0.9256299830, abs=1e-10
    )


def test_byol_has_its_golden_value():
    assert byol(golden(0.7), golden(0.9)).item() == pytest.approx(0.1487400339, abs=1e-10)


def test_losses_equal_slow_references():
    p, z = golden(0.31), golden(0.9)
    assert negative_cosine(p, z).item() == pytest.approx(slow_cosine(p, z), abs=1e-12)
    assert byol(p, z).item() == pytest.approx(2 + 2 * slow_cosine(p, z), abs=1e-12)
    expected = slow_cross_entropy(p, z)
    assert softmax_cross_entropy(p, z).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("angle", "cosine", "distance"), [(0, -1, 0), (90, 0, 2), (180, 1, 4)])
def test_angles_give_their_closed_forms(angle: int, cosine: float, distance: float):
    radians = math.radians(angle)
    p, z = torch.tensor([[1.0, 0.0]]), torch.tensor([[math.cos(radians), math.sin(radians)]])
    assert negative_cosine(p, z).item() == pytest.approx(cosine, abs=1e-6)
    assert byol(p, z).item() == pytest.approx(distance, abs=1e-6)


def test_uniform_target_gives_log_of_channels():
    uniform = torch.zeros(3, 8)
    assert softmax_cross_entropy(uniform, uniform).item() == pytest.approx(math.log(8))


@pytest.mark.parametrize("loss", LOSSES)
def test_order_of_samples_does_not_matter(loss):
    p, z, order = golden(0.7), golden(0.9), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(loss(p[order], z[order]), loss(p, z))


@pytest.mark.parametrize("loss", [negative_cosine, byol])
def test_scale_and_rotation_do_not_matter(loss):
    p, z = golden(0.7), golden(0.9)
    rotation = torch.linalg.qr(golden(0.31).T @ golden(0.31) + torch.eye(6)).Q
    torch.testing.assert_close(loss(3 * p, 0.5 * z), loss(p, z))
    torch.testing.assert_close(loss(p @ rotation, z @ rotation), loss(p, z))


@pytest.mark.parametrize("loss", [negative_cosine, byol])
def test_cosine_losses_are_symmetric(loss):
    torch.testing.assert_close(loss(golden(0.7), golden(0.9)), loss(golden(0.9), golden(0.7)))


@pytest.mark.parametrize("loss", LOSSES)
def test_target_keeps_its_gradient_unless_the_method_detaches_it(loss):
    p, z = golden(0.7).requires_grad_(), golden(0.9).requires_grad_()
    loss(p, z).backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    z.grad = None
    loss(p, z.detach()).backward()
    assert z.grad is None


def test_stop_gradient_without_predictor_halves_the_gradient():
    # Spec 14e: with p = z, D(a, sg b) / 2 + D(b, sg a) / 2 has half the gradient of D(a, b).
    a, b = golden(0.7).requires_grad_(), golden(0.9)
    stopped = (negative_cosine(a, b) + negative_cosine(b, a.detach())) / 2
    (half,) = torch.autograd.grad(stopped, a)
    (whole,) = torch.autograd.grad(negative_cosine(a, b), a)
    torch.testing.assert_close(half, whole / 2)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(loss, dtype):
    p, z = golden(0.7).to(dtype), golden(0.9).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(p, z)
    assert value.dtype == torch.float32
    assert value.item() == loss(p.float(), z.float()).item()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_finite_at_zero_and_for_large_values(loss):
    p = torch.stack([torch.zeros(6), torch.full((6,), 1e4)]).requires_grad_()
    loss(p, golden(0.9)[:2].float()).backward()
    assert p.grad is not None
    assert p.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_matches_finite_differences(loss):
    p, z = golden(0.7).requires_grad_(), golden(0.9).requires_grad_()
    assert torch.autograd.gradcheck(loss, (p, z))
