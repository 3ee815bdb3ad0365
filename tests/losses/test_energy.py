import math

import pytest
import torch
from torch.nn import functional

from sslcli.losses.energy import (
    contrastive_divergence,
    energy_penalty,
    hdge,
    joint_log_density,
    log_density,
)


def logits(batch=6, classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, classes, generator=generator, dtype=torch.float64)


def test_golden_values():
    z = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    label = torch.tensor([2])
    assert log_density(z).item() == pytest.approx(3.4076059644, abs=1e-10)
    cross_entropy = (log_density(z) - joint_log_density(z, label)).item()
    assert cross_entropy == pytest.approx(0.4076059644, abs=1e-10)
    assert log_density(torch.zeros(1, 3)).item() == pytest.approx(1.0986122887, abs=1e-6)


def test_gradient_of_the_marginal_is_the_classifiers_mean_of_class_gradients():
    torch.manual_seed(0)
    head = torch.randn(5, 4, dtype=torch.float64)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    z = x @ head.T
    (gradient,) = torch.autograd.grad(log_density(z).sum(), x)
    torch.testing.assert_close(gradient, z.softmax(dim=1) @ head, rtol=0, atol=1e-14)


def test_density_and_classifier_terms_add_up_to_the_joint():
    z, labels = logits(), torch.arange(6)
    joint = -log_density(z) + functional.cross_entropy(z, labels, reduction="none")
    torch.testing.assert_close(joint, -joint_log_density(z, labels), rtol=0, atol=1e-14)


def test_a_shift_of_all_logits_moves_the_density_and_not_the_class():
    z, shift = logits(), torch.linspace(-3, 3, 6, dtype=torch.float64)
    moved = z + shift[:, None]
    torch.testing.assert_close(log_density(moved), log_density(z) + shift)
    torch.testing.assert_close(moved.softmax(dim=1), z.softmax(dim=1))


def test_densities_of_one_image_are_vectors():
    assert log_density(logits(batch=1)).shape == (1,)
    assert joint_log_density(logits(batch=1), torch.tensor([3])).shape == (1,)


def test_equal_energies_cost_nothing_without_a_penalty():
    f = torch.tensor([1.0, -2.0, 0.5])
    assert contrastive_divergence(f, f) == 0
    assert contrastive_divergence(torch.tensor([3.0]), torch.tensor([1.0, 2.0])) == -1.5


def test_penalty_squares_each_sample_and_not_the_mean():
    assert energy_penalty(torch.tensor([1.0, -1.0]), torch.tensor([2.0])) == 5


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_left(half):
    assert log_density(logits().to(half)).dtype == torch.float32
    assert contrastive_divergence(logits()[0].to(half), logits()[1].to(half)).dtype == torch.float32


def by_the_formula(z, labels, queue, temperature, released):
    """Return the loss from the definition, one image and one slot at a time."""
    own, others = functional.normalize(z, dim=1), functional.normalize(queue, dim=1)
    losses = []
    for row, label in zip(own, labels.tolist(), strict=True):
        one_hot = torch.zeros_like(row)
        one_hot[label] = 1
        score = (
            (lambda u, y=one_hot: (y * u).logsumexp(0)) if released else (lambda u, y=label: u[y])
        )
        scores = torch.stack([score(row), *(score(other) for other in others)]) / temperature
        losses.append(scores.logsumexp(0) - scores[0])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("score", ["paper", "released"])
def test_hdge_equals_its_definition(score):
    z, queue, labels = logits(), logits(17, seed=1), torch.tensor([0, 3, 9, 3, 1, 1])
    found = hdge(z, labels, queue, 0.1, score)
    expected = by_the_formula(z, labels, queue, 0.1, score == "released")
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize(("classes", "golden"), [(10, 2.3654398), (100, 4.6116364)])
def test_released_score_of_a_half_is_golden(classes, golden):
    unit = torch.zeros(1, classes, dtype=torch.float64)
    unit[0, 0], unit[0, 1] = 0.5, math.sqrt(0.75)
    opposite = torch.zeros(1, classes, dtype=torch.float64)
    opposite[0, 1] = 1.0  # scores log(C) for class 0
    loss = hdge(unit, torch.tensor([0]), opposite, 1.0, "released").item()
    assert math.log(classes) - golden == pytest.approx(math.log(math.expm1(loss)), abs=1e-6)


@pytest.mark.parametrize(("classes", "low", "high"), [(10, 8.852, 13.329), (100, 10.857, 11.324)])
@pytest.mark.parametrize("sign", [1, -1])
def test_released_score_can_never_leave_a_narrow_range(classes, low, high, sign):
    best = torch.zeros(1, classes)
    best[0, 0] = sign
    loss = hdge(best, torch.tensor([0]), -best.expand(65_536, -1), 0.1, "released").item()
    assert loss == pytest.approx(low if sign == 1 else high, abs=1e-3)


@pytest.mark.parametrize(
    ("score", "classes", "golden"),
    [("released", 10, 2.2386), ("released", 100, 0.2338), ("paper", 10, 20.0)],
)
def test_range_of_the_scores_is_golden(score, classes, golden):
    best = torch.zeros(1, classes, dtype=torch.float64)
    best[0, 0] = 1
    worst = hdge(-best, torch.tensor([0]), best, 0.1, score).item()  # log(1 + exp(range))
    assert math.log(math.expm1(worst)) == pytest.approx(golden, abs=5e-5)


@pytest.mark.parametrize("score", ["paper", "released"])
def test_equal_scores_are_a_guess_among_all(score):
    z = torch.ones(4, 10)
    loss = hdge(z, torch.arange(4), torch.ones(65_536, 10), 0.1, score).item()
    assert loss == pytest.approx(math.log(65_537), abs=1e-4)
    hot = hdge(logits(), torch.arange(6), logits(50, seed=2), 1e9, score).item()
    assert hot == pytest.approx(math.log(51), abs=1e-6)


@pytest.mark.parametrize(("classes", "golden"), [(10, 9.15), (100, 98.7)])
def test_released_score_has_a_gradient_smaller_by_the_number_of_classes(classes, golden):
    ratios = []
    for seed in range(20):
        z, queue = logits(8, classes, seed), logits(64, classes, seed + 100)
        norms = []
        for score in ("paper", "released"):
            z = z.detach().requires_grad_()
            loss = hdge(z, torch.arange(8) % classes, queue, 1.0, score)
            norms.append(torch.autograd.grad(loss, z)[0].norm())
        ratios.append(norms[0] / norms[1])
    assert torch.stack(ratios).mean().item() == pytest.approx(golden, rel=0.1)


@pytest.mark.parametrize("score", ["paper", "released"])
def test_slots_without_an_image_do_not_count(score):
    z, queue, labels = logits(), logits(8, seed=1), torch.arange(6)
    part = hdge(z, labels, queue, 0.1, score, torch.tensor(5))
    assert part == hdge(z, labels, queue[:5], 0.1, score)
    assert hdge(z, labels, queue, 0.1, score, torch.tensor(0)) == 0


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        hdge(logits(), torch.arange(6), logits(), 0.0)
