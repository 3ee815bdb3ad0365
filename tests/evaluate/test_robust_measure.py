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


def test_autoattack_is_no_weaker_than_pgd():
    pytest.importorskip("pyautoattack")
    net, x = network().eval(), images(12)
    defence = Defence(net, HALF, HALF)
    labels = defence.logits((x - 0.5) / 0.5).argmax(dim=1)
    held = autoattack.AutoAttack("linf", 0.02, 0).withstood(defence, x, labels)
    pgd = attack_condition(defence, ["clean", "a"], [PGD("linf", [0.02], 20, 0.1, 1, 0)])
    assert held.sum() <= pgd.run(x, labels, torch.arange(12))[1].sum() < 12
