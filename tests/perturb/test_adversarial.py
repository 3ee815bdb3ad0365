from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from sslcli.perturb.adversarial import Adversarial, Attack, Judged, pgd, search
from sslcli.perturb.ball import Ball

SHAPE, VALUES = (3, 4, 4), 48


class Linear(nn.Module):
    """A deterministic victim whose logits are linear in the image."""

    def __init__(self, classes=2, scale=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(classes, VALUES, generator=generator) * scale)

    def logits(self, images):
        return images.flatten(1) @ self.weight.T

    def judge(self, images, labels):
        leaf = images.detach().requires_grad_()
        logits = self.logits(leaf)
        loss = functional.cross_entropy(logits, labels, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        return Judged(loss.detach(), logits.detach().argmax(dim=1) != labels, gradient)

    def errs(self, images, labels):
        return self.logits(images).argmax(dim=1) != labels


def numbers(count):
    return lambda restart: torch.rand(
        count, VALUES, generator=torch.Generator().manual_seed(restart)
    )


def images(count, seed=0):
    """Return images so far from 0 and 1 that small changes are never cut."""
    generator = torch.Generator().manual_seed(seed)
    return 0.4 + 0.2 * torch.rand(count, *SHAPE, generator=generator)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_worst_case_of_a_linear_classifier_is_reached(norm):
    victim, x = Linear(), images(16)
    difference = (victim.weight[0] - victim.weight[1]).detach()
    before = (x.flatten(1) @ difference).abs()
    labels = victim.logits(x).argmax(dim=1)
    loss_of = 0.001 * difference.norm(p=1 if norm == "linf" else 2)  # the dual norm
    found = search(victim, x, labels, numbers(16), Attack(Ball(norm, 0.001), 30, 0.0002, 1))
    held = before > 1.1 * loss_of
    after = (found.images.flatten(1) @ difference).abs()
    assert held.sum() > 8
    torch.testing.assert_close(after[held], (before - loss_of)[held], rtol=0, atol=5e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_image_breaks_where_its_margin_ends(norm):
    victim, x = Linear(), images(40)
    labels = victim.logits(x).argmax(dim=1)
    difference = victim.weight[0] - victim.weight[1]
    size = difference.norm(p=1 if norm == "linf" else 2)
    needed = ((x.flatten(1) @ difference).abs() / size).detach()
    radius = needed.median().item() * 1.0001
    attack = Attack(Ball(norm, radius), 50, radius / 10, 2)
    found = search(victim, x, labels, numbers(40), attack)
    expected = needed < radius
    clear = (needed / radius - 1).abs() > 1e-3
    assert torch.equal(found.is_broken[clear], expected[clear])
    assert 0 < found.is_broken.sum() < 40


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.03), ("l2", 0.4), ("linf", 0.9)])
def test_images_stay_in_the_ball_and_in_range(norm, radius):
    victim, x = Linear(classes=5, scale=3.0), torch.rand(12, *SHAPE)
    labels = torch.arange(12) % 5
    found = search(victim, x, labels, numbers(12), Attack(Ball(norm, radius), 7, radius, 2))
    change = (found.images - x).flatten(1)
    length = change.abs().amax(dim=1) if norm == "linf" else change.norm(dim=1)
    assert length.max() <= radius + 1e-6
    assert found.images.min() >= 0
    assert found.images.max() <= 1


def test_random_starts_lie_in_the_ball_and_are_spread_over_it():
    x = images(200)
    for norm in ("linf", "l2"):
        start = Ball(norm, 0.05).scatter(x, numbers(200)(0)) - x
        assert start.abs().max() <= 0.05 + 1e-6
        assert start.mean().abs() < 1e-3
    assert torch.allclose(start.flatten(1).norm(dim=1), torch.tensor(0.05), atol=1e-5)
    assert torch.isfinite(Ball("l2", 0.05).scatter(x, torch.zeros(200, VALUES))).all()


class Wave(Linear):
    """A victim with many local maxima, where starts matter."""

    def logits(self, images):
        return (9 * super().logits(images)).sin()


def test_restarts_never_lose_what_earlier_ones_found():
    victim, x = Wave(classes=4), images(60)
    labels = victim.logits(x).argmax(dim=1)
    found = [
        search(victim, x, labels, numbers(60), Attack(Ball("linf", 0.004), 2, 0.002, restarts))
        for restarts in (1, 3, 6)
    ]
    for few, many in pairwise(found):
        assert (many.is_broken | ~few.is_broken).all()
        kept = ~many.is_broken
        assert (many.loss[kept] >= few.loss[kept]).all()
    assert found[0].is_broken.sum() < found[-1].is_broken.sum()


def test_the_best_of_an_image_is_broken_first_and_then_of_the_highest_loss():
    best, rows = Adversarial(torch.zeros(3, 1)), torch.arange(3)
    best.offer(rows, torch.ones(3, 1), torch.tensor([5.0, 1.0, 9.0]), torch.tensor([0, 1, 0]) > 0)
    best.offer(rows, torch.full((3, 1), 2.0), torch.tensor([2.0, 8.0, 3.0]), torch.zeros(3) > 0)
    assert best.images[:, 0].tolist() == [1, 1, 1]
    best.offer(rows[:1], torch.full((1, 1), 3.0), torch.tensor([0.1]), torch.tensor([True]))
    assert best.images[:, 0].tolist() == [3, 1, 1]
    assert best.is_broken.tolist() == [True, True, False]


class Fickle(Linear):
    """A random victim that seems broken at every first impression and never is."""

    def judge(self, images, labels):
        judged = super().judge(images, labels)
        return Judged(judged.loss, torch.ones_like(judged.is_broken), judged.gradient)

    def errs(self, images, labels):
        return torch.zeros(len(images), dtype=torch.bool)


def test_what_is_broken_by_chance_does_not_count():
    victim, x = Fickle(), images(5)
    labels = torch.zeros(5, dtype=torch.int64)
    found = search(victim, x, labels, numbers(5), Attack(Ball("linf", 0.1), 3, 0.05, 4))
    assert not found.is_broken.any()


def test_no_radius_changes_nothing():
    victim, x = Linear(), images(6)
    labels = victim.logits(x).argmax(dim=1)
    found = search(victim, x, labels, numbers(6), Attack(Ball("linf", 0.0), 3, 0.0, 1))
    assert torch.equal(found.images, x)
    assert not found.is_broken.any()


def test_weights_and_their_gradients_stay_as_they_are():
    victim, x = Linear(classes=3), images(6)
    before, input_before = victim.weight.detach().clone(), x.clone()
    labels = torch.zeros(6, dtype=torch.int64)
    pgd(victim, x, labels, x, Attack(Ball("l2", 0.1), 3, 0.05, 1))
    assert victim.weight.grad is None
    assert torch.equal(victim.weight, before)
    assert torch.equal(x, input_before)
    assert not x.requires_grad
