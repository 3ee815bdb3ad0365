import math

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.nn import functional

from sslcli.errors import UsageError
from sslcli.evaluate.nearest import build_index
from sslcli.evaluate.ood.activations import (
    clip_activations,
    clipping_threshold,
    prune_activations,
)
from sslcli.evaluate.ood.distances import (
    fit_gaussians,
    mahalanobis,
    neighbour,
    relative_mahalanobis,
)
from sslcli.evaluate.ood.logits import energy, entropy, gen, max_logit, msp
from sslcli.evaluate.ood.vim import PrincipalSpace

LOGITS = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [60.0, 0.0, -60.0]])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer.requires_grad_(False)


def test_logit_scores_by_hand():
    assert energy(LOGITS)[:2].tolist() == pytest.approx([3.4076059644, 1.0986122887], abs=1e-9)
    assert max_logit(LOGITS).tolist() == [3.0, 0.0, 60.0]
    e = [math.exp(x) for x in (1, 2, 3)]
    assert msp(LOGITS)[:2].tolist() == pytest.approx([e[2] / sum(e), 1 / 3], abs=1e-12)
    by_hand = sum(x / sum(e) * math.log(x / sum(e)) for x in e)
    assert entropy(LOGITS)[:2].tolist() == pytest.approx([by_hand, -math.log(3)], abs=1e-12)


def test_energy_at_another_temperature():
    assert energy(LOGITS, 2.0)[0].item() == pytest.approx(
        2 * math.log(sum(math.exp(x / 2) for x in (1, 2, 3)))
    )


def test_gen_equals_its_sum_over_the_likeliest_classes():
    logits = random(20, 7).double()
    for classes in (3, 100):
        slow = []
        for row in logits.softmax(1).tolist():
            top = sorted(row, reverse=True)[:classes]
            slow.append(-sum((p * (1 - p)) ** 0.1 for p in top))
        assert gen(logits, classes=classes).tolist() == pytest.approx(slow)


def test_confident_logits_do_not_tie():
    logits = torch.stack([torch.tensor([20.0 + i, 0.0]) for i in range(8)])
    assert logits.softmax(1).amax(1).unique().numel() < 8  # what float32 makes of them
    for score in (msp, entropy, gen):
        assert (score(logits).diff() > 0).all(), score


def test_mahalanobis_of_unit_covariance_by_hand():
    around = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]) * math.sqrt(2)
    train = torch.cat([around + torch.tensor([1.0, 1]), around + torch.tensor([11.0, 1])])
    classes = fit_gaussians(train, torch.tensor([0] * 4 + [1] * 4))
    points = torch.tensor([[6.0, 1], [1, 1], [11, 3]])
    assert mahalanobis(points, classes).tolist() == pytest.approx([-25, 0, -4], abs=1e-5)


def test_mahalanobis_and_its_relative_equal_scikit_learn():
    train, labels, test = (
        random(200, 6) @ random(6, 6, seed=1),
        torch.arange(200) % 3 * 2,
        random(9, 6, seed=2),
    )
    means = torch.stack([train[labels == c].mean(0) for c in (0, 2, 4)])  # 1 and 3 never occur
    within = EmpiricalCovariance(assume_centered=True).fit((train - means[labels // 2]).double())
    whole = EmpiricalCovariance().fit(train.double())
    near = np.min([within.mahalanobis((test - m).double()) for m in means], axis=0)
    classes, single = fit_gaussians(train, labels), fit_gaussians(train, None)
    np.testing.assert_allclose(mahalanobis(test, classes), -near, rtol=1e-4)
    relative = relative_mahalanobis(test, classes, single)
    np.testing.assert_allclose(
        relative, whole.mahalanobis(test.double()) - near, rtol=1e-3, atol=1e-4
    )


def test_dead_units_stay_finite_and_tell_when_they_fire():
    train = torch.cat([random(50, 3), torch.zeros(50, 1)], dim=1)
    classes = fit_gaussians(train, torch.arange(50) % 2)
    quiet, firing = torch.zeros(1, 4), torch.tensor([[0.0, 0, 0, 1]])
    assert mahalanobis(firing, classes).isfinite().all()
    assert mahalanobis(firing, classes) < mahalanobis(quiet, classes) - 1000


def test_one_image_a_class_has_no_covariance():
    with pytest.raises(UsageError, match="do not vary"):
        fit_gaussians(random(3, 4), torch.arange(3))


def test_neighbour_is_the_distance_on_the_sphere():
    train, test = random(300, 8), random(20, 8, seed=1)
    unit = functional.normalize(train).double()
    found = NearestNeighbors(n_neighbors=7).fit(unit)
    slow = found.kneighbors(functional.normalize(test).double())[0][:, -1]
    np.testing.assert_allclose(neighbour(5 * test, build_index(train), 7), -slow, atol=1e-6)
    first, second = (neighbour(train, build_index(train), k).abs() for k in (1, 2))
    assert first.max() < 1e-3 < second.min()  # each is its own neighbour


GOLDEN = torch.tensor([[2.0, 0, 0.1], [0, 2, 0.1], [3, 1, -0.2], [1, 3, 0.2]])


def test_vim_golden():
    classifier = linear(torch.eye(2, 3), torch.zeros(2))
    virtual = PrincipalSpace(GOLDEN, classifier).fit(GOLDEN, GOLDEN[:, :2], dim=2)
    assert virtual.alpha == pytest.approx(25.06580699, rel=1e-6)
    assert virtual.norms(GOLDEN).square().mean().item() == pytest.approx(0.01392708, abs=1e-8)
    points = torch.cat([torch.tensor([[0.0, 0, 1]]), GOLDEN[:1]])
    scores = virtual.score(points, points[:, :2])
    assert (-scores).tolist() == pytest.approx([24.30685282, 2.38920632], rel=1e-6)


def test_vim_measures_from_where_all_logits_are_zero():
    classifier = linear(random(4, 10), random(4, seed=1))
    space = PrincipalSpace(random(50, 10, seed=2), classifier)
    assert classifier(space.origin.float()).abs().max() < 1e-5


def test_vim_refuses_to_divide_by_an_empty_residual():
    flat = torch.cat([random(50, 3), torch.zeros(50, 5)], dim=1)
    classifier = linear(random(2, 3) @ torch.eye(3, 8), torch.zeros(2))
    space = PrincipalSpace(flat, classifier)
    assert space.rank == 3
    with pytest.raises(UsageError, match="span 3 dimensions") as caught:
        space.fit(flat, classifier(flat), dim=3)
    assert caught.value.where == "`score` vim"
    assert space.fit(flat, classifier(flat), dim=2).alpha < 100


def test_react_clips_at_the_percentile_of_all_activations():
    features = torch.arange(100.0).view(10, 10)
    threshold = clipping_threshold(features, 90.0)
    assert threshold == pytest.approx(89.1)
    assert clip_activations(features, threshold).max().item() == pytest.approx(89.1)
    assert torch.equal(clip_activations(features, threshold)[:8], features[:8])


def test_ash_keeps_the_largest_activations_of_each_image():
    features = torch.tensor([[5.0, 1, 4, 2, 3], [-1, -5, -2, -4, -3]])
    expected = torch.tensor([[5.0, 0, 4, 0, 0], [-1, 0, -2, 0, 0]])
    assert torch.equal(prune_activations(features, 60.0), expected)
    assert (prune_activations(features, 99.0) != 0).sum(dim=1).tolist() == [1, 1]
