"""DINO's loss against the spec's golden values and its properties."""

import math

import pytest
import torch
from golden_input import golden
from torch.nn import functional

from sslcli.losses.dino import dino, teacher_probabilities

ZERO = torch.zeros(5, dtype=torch.float64)


def scores():
    """The golden views' cosines with 5 prototypes."""
    i, j = torch.meshgrid(torch.arange(5.0).double(), torch.arange(6.0).double(), indexing="ij")
    prototypes = functional.normalize(torch.sin(0.31 * i + 1.3 * j + 0.17 * i * j + 0.5))
    return [functional.normalize(golden(a)) @ prototypes.T for a in (0.7, 0.9)]


def test_golden_values():
    s1, s2 = scores()
    assert dino([s1, s2], [s2, s1], ZERO, 0.1, 0.04).item() == pytest.approx(0.2690537843, abs=1e-9)
    assert dino([s1, s2], [s1, s2], ZERO, 0.1, 0.04).item() == pytest.approx(0.4668551201, abs=1e-9)


def test_a_uniform_student_costs_ln_k():
    uniform = torch.zeros(3, 64)
    loss = dino([uniform, uniform], [torch.randn(3, 64)], torch.zeros(64), 0.1, 0.04)
    assert loss.item() == pytest.approx(math.log(64), abs=1e-5)


def test_the_mean_is_over_pairs_of_different_views():
    torch.manual_seed(0)
    views, center = [torch.randn(3, 5) for _ in range(4)], torch.randn(5)
    pairs = [(g, v) for g in range(2) for v in range(4) if v != g]
    expected = 0.0
    for g, v in pairs:
        target = ((views[g] - center) / 0.05).softmax(1)
        expected -= (target * (views[v] / 0.1).log_softmax(1)).sum(1).mean().item() / len(pairs)
    assert dino(views, views[:2], center, 0.1, 0.05).item() == pytest.approx(expected, rel=1e-6)


def test_no_gradient_reaches_the_teacher():
    student, teacher = (torch.randn(3, 5, requires_grad=True) for _ in range(2))
    dino([torch.zeros(3, 5), student], [teacher], torch.zeros(5), 0.1, 0.04).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_samples_in_another_order_give_the_same_loss():
    s1, s2 = scores()
    order = torch.tensor([2, 0, 3, 1])
    first = dino([s1, s2], [s1, s2], ZERO, 0.1, 0.04)
    other = dino([s1[order], s2[order]], [s1[order], s2[order]], ZERO, 0.1, 0.04)
    torch.testing.assert_close(first, other)


def test_half_precision_is_left_before_the_softmax():
    logits = torch.randn(3, 5, dtype=torch.bfloat16)
    assert dino([logits, logits], [logits], torch.zeros(5), 0.1, 0.04).dtype == torch.float32
    assert teacher_probabilities(logits, torch.zeros(5), 0.04).dtype == torch.float32


@pytest.mark.parametrize("temperatures", [(0.0, 0.04), (0.1, 0.0)])
def test_temperatures_must_be_positive(temperatures):
    s1, s2 = scores()
    with pytest.raises(ValueError, match="positive"):
        dino([s1, s2], [s1], ZERO, *temperatures)


def test_a_single_view_makes_no_pair():
    with pytest.raises(ValueError, match="no pair"):
        dino(scores()[:1], scores()[:1], ZERO, 0.1, 0.04)
