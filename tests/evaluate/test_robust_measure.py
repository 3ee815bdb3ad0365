import numpy as np
import pytest
import torch
from torch import nn

from sslcli.errors import DataError, UsageError
from sslcli.evaluate.robust import autoattack
from sslcli.evaluate.robust.corruptions import named_corruption
from sslcli.evaluate.robust.defence import Defence
from sslcli.evaluate.robust.interval import interval_of_means, wilson
from sslcli.evaluate.robust.measure import (
    PGD,
    Condition,
    attack_condition,
    corruption_condition,
    measure,
)

HALF = (0.5, 0.5, 0.5)


def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Dropout(0.5))
    return net.requires_grad_(False)


def images(count=30):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def batches(x, size):
    rows = torch.arange(len(x))
    return list(zip(x.split(size), rows.split(size), strict=True))


def attacked(net, size, steps=5, **noise):
    x = images()
    defence = Defence(net, HALF, HALF, **noise)
    labels = net.eval()((x - 0.5) / 0.5).argmax(dim=1)
    net.train()
    attacks = [PGD("linf", [0.01, 0.03], steps, 0.4, 2, 0), PGD("l2", [0.1, 0.4], steps, 0.4, 2, 0)]
    names = ["clean", "linf-a", "linf-b", "l2-a", "l2-b"]
    spoilt = corruption_condition(named_corruption("fog"), defence, 0)
    conditions = [attack_condition(defence, names, attacks), spoilt]
    return measure(net, batches(x, size), labels, conditions, 0)


def test_accuracy_falls_with_the_radius_from_that_of_clean_images():
    right = attacked(network(), 30)
    assert right["clean"].all()
    for norm in ("linf", "l2"):
        assert right[f"{norm}-a"].sum() < 30
        assert (right[f"{norm}-a"] | ~right[f"{norm}-b"]).all()
        assert right[f"{norm}-b"].sum() < right[f"{norm}-a"].sum()


class Scaled(nn.Module):
    def __init__(self, net, factor):
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x):
        return self.factor * self.net(x)


def curved(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 36, 5)
    return nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.mark.parametrize("factor", [1e2, 1e4])
def test_a_factor_of_the_logits_changes_no_accuracy_under_attack(factor):
    """It changes no decision, but the softmax of float32 is then the one-hot."""
    x, net = images(40), Scaled(curved(), 100)  # margins of 8 nats, as after training
    labels = net((x - 0.5) / 0.5).argmax(dim=1)
    attacks = [PGD("linf", [0.01, 0.02], 6, 0.4, 2, 0), PGD("l2", [0.15, 0.3], 6, 0.4, 2, 0)]
    names, stuck = ["clean", "linf-a", "linf-b", "l2-a", "l2-b"], []
    plain, scaled = (
        attack_condition(
            Defence(each, HALF, HALF), names, attacks, lambda name, flags: stuck.append(flags)
        ).run(x, labels, torch.arange(40))
        for each in (net, Scaled(net, factor))
    )
    assert all(2 < held < 38 for held in plain.sum(dim=1)[[1, 3]].tolist())
    assert (plain != scaled).sum(dim=1).max() <= 1
    assert not torch.cat(stuck).any()


def test_images_that_hold_for_want_of_a_gradient_are_told():
    class Steps(nn.Module):
        def forward(self, x):
            return (64 * x).round() / 64

    net, x = nn.Sequential(Steps(), curved()), images(12)
    labels, told = net((x - 0.5) / 0.5).argmax(dim=1), {}
    condition = attack_condition(
        Defence(net, HALF, HALF), ["clean", "a"], [PGD("linf", [0.02], 3, 0.5, 1, 0)],
        told.__setitem__,
    )  # fmt: skip
    held = condition.run(x, labels, torch.arange(12))[1]
    assert held.sum() > 0
    assert torch.equal(told["a"], held & told["a"])
    assert told["a"].sum() == held.sum()


def test_autoattack_gets_logits_of_a_margin_that_float32_holds():
    logits = torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 9.0, 2.0]])
    assert autoattack.held_by_float32(logits) == 1
    assert autoattack.held_by_float32(logits * 1e4) == pytest.approx(15 / 7e4)
    assert autoattack.held_by_float32(logits * 1e-3) == pytest.approx(1 / 7e-3)
    assert autoattack.held_by_float32(torch.zeros(2, 4)) == 1


def test_batches_change_nothing_and_modes_come_back():
    net = network()
    whole, parts = attacked(net, 30), attacked(net, 7)
    assert whole.keys() == parts.keys() >= {"clean", "fog/1", "fog/5"}
    for name in whole:
        assert np.array_equal(whole[name], parts[name]), name
    assert all(module.training for module in net.modules())


def test_noise_repeats_with_the_seed_and_leaves_the_generator_alone():
    net = network()
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first, again = (attacked(net, 30, noise=0.4, replicas=2, verdicts=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_no_image_is_told():
    condition = Condition(["clean"], lambda images, labels, rows: labels[None] >= 0)
    with pytest.raises(DataError, match="no image"):
        measure(network(), [], torch.zeros(0, dtype=torch.int64), [condition], 0)


def test_wilsons_interval_has_its_published_values_and_is_never_empty():
    assert wilson(np.arange(10) < 1) == pytest.approx((0.0179, 0.4042), abs=1e-4)
    assert wilson(np.ones(10, dtype=bool)) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_the_conditions_of_an_image_are_one_sample():
    hits = np.random.default_rng(0).random(400) < 0.7
    once, often = interval_of_means(hits[None]), interval_of_means(np.tile(hits, (9, 1)))
    assert once == pytest.approx(often)
    low, high = wilson(hits)
    assert once == pytest.approx((low, high), abs=0.01)


def test_autoattack_says_how_to_install_it_and_what_it_needs(monkeypatch):
    monkeypatch.setattr(autoattack, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        autoattack.need_autoattack(10)
    assert caught.value.hint == "pip install 'sslcli[attack]'"
    monkeypatch.setattr(autoattack, "find_spec", lambda name: True)
    autoattack.need_autoattack(4)
    with pytest.raises(UsageError, match="need 4 classes, there are 3"):
        autoattack.need_autoattack(3)


@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e4])
def test_autoattack_is_no_weaker_than_pgd(factor):
    pytest.importorskip("pyautoattack")
    net, x = Scaled(network().eval(), factor), images(12)
    defence = Defence(net, HALF, HALF)
    labels = defence.logits((x - 0.5) / 0.5).argmax(dim=1)
    held = autoattack.AutoAttack("linf", 0.02, 0).withstood(defence, x, labels)
    pgd = attack_condition(defence, ["clean", "a"], [PGD("linf", [0.02], 20, 0.1, 1, 0)])
    assert held.sum() <= pgd.run(x, labels, torch.arange(12))[1].sum() < 12
