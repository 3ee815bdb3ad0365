"""DirectPred against its golden values, a slow reference and its variants."""

import pytest
import torch
from golden_input import golden
from tiny_images import flat_encoder, pairs
from torch.nn.functional import cosine_similarity

from sslcli.config.methods.siamese import DirectPredConfig
from sslcli.methods.base import Progress
from sslcli.methods.directpred import DirectPred, predictor
from sslcli.methods.linear_predictor import correlations

FIRST = Progress(step=1, total_steps=10, steps_per_epoch=5)


def make(**fields):
    torch.manual_seed(0)
    numbers = {"name": "directpred", "projector_hidden": 16, "dim": 6, "epsilon": 0.1}
    rates = {"correlation_momentum": 0.3, "momentum": 0.9}
    return DirectPred(DirectPredConfig(**(numbers | rates | fields)), flat_encoder())


def golden_correlation():
    features = torch.cat([golden(0.7), golden(0.9)])
    return features.T @ features / 8


def learn(method, steps):
    """Make forward passes and the updates after them; the weights stay."""
    for done in range(1, steps + 1):
        carry = method(pairs(8, seed=done), FIRST).carry
        with torch.no_grad():
            method.after_step(Progress(done, 10, 5), carry)
    return method


def test_correlation_has_its_golden_eigenvalues():
    expected = [2.14e-5, 3.88e-4, 0.0560344, 0.2299307, 1.1043944, 1.6020065]
    found = torch.linalg.eigvalsh(golden_correlation())
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("form", "trace", "row"),
    [
        ("paper", 4.0183447400, (0.7639761, 0.0085898, -0.3535978)),
        ("code", 3.0153679914, (0.5770274, 0.0067866, -0.2793684)),
    ],
)
def test_both_forms_have_their_golden_values(form, trace, row):
    found = predictor(golden_correlation(), 0.1, form)
    assert found.trace().item() == pytest.approx(trace, abs=1e-9)
    assert found[0, :3].tolist() == pytest.approx(row, abs=1e-7)


def test_the_forms_differ_in_what_epsilon_multiplies_and_else_in_scale():
    f = golden_correlation()
    largest = torch.linalg.eigvalsh(f).max()
    assert largest.sqrt().item() == pytest.approx(1.2657040, abs=1e-7)
    alike = predictor(f, 0.1, "code") * largest.sqrt()
    assert torch.allclose(alike, predictor(f, 0.1 / largest.sqrt().item(), "paper"), atol=1e-9)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_predictor_is_symmetric_commutes_and_has_no_negative_eigenvalue(form):
    f = golden_correlation()
    found = predictor(f, 0.1, form)
    assert torch.allclose(found, found.T, atol=1e-14)
    assert (found @ f - f @ found).norm() < 1e-14
    assert torch.linalg.eigvalsh(found).min() > 0


@pytest.mark.parametrize("form", ["paper", "code"])
def test_rounding_below_zero_and_a_zero_correlation_are_finite(form):
    for f in (torch.zeros(4, 4), torch.diag(torch.tensor([1.0, 0.5, 0.0, -1e-6]))):
        assert predictor(f, 0.01, form).isfinite().all()


@pytest.mark.parametrize("form", ["paper", "code"])
def test_a_constant_leaves_the_floor_alone_to_weak_directions(form):
    f = torch.diag(torch.tensor([4.0, 2.0, 0.2], dtype=torch.float64))
    found = predictor(f, 0.0, form, constant=0.1).diag()
    scale = 1 if form == "paper" else 2
    floor = 0 if form == "paper" else 1e-4
    assert (found * scale).tolist() == pytest.approx([3.6**0.5, 1.6**0.5, floor * scale])


def test_the_first_correlation_is_the_first_batch_s_and_then_an_average():
    method = make()
    learn(method, 2)
    expected = 0
    for done, weight in ((1, 0.3), (2, 0.7)):
        views = pairs(8, seed=done).views
        f = torch.cat([method.projector(method.encoder(view)) for view in views])
        expected = expected + weight * f.T @ f / len(f)
    assert torch.allclose(method.correlation[0], expected, atol=1e-6)
    assert torch.allclose(method.predictors[0], predictor(expected, 0.1, "paper"), atol=1e-5)


def test_loss_is_the_official_one_plus_four():
    method = learn(make(), 1)
    f1, f2 = (method.projector(method.encoder(view)) for view in pairs(8).views)
    t1, t2 = (method.target(view) for view in pairs(8).views)
    w = method.predictors[0]
    cosines = cosine_similarity(f1 @ w.T, t2) + cosine_similarity(f2 @ w.T, t1)
    expected = 4 - 2 * cosines.mean()
    assert method(pairs(8), FIRST).loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_scale_of_the_predictor_does_not_matter():
    method = learn(make(), 1)
    before = method(pairs(8), FIRST).loss
    with torch.no_grad():
        method.predictors *= 7
    assert torch.allclose(before, method(pairs(8), FIRST).loss, atol=1e-6)


@pytest.mark.parametrize(("freq", "is_trained"), [(0, True), (1, False), (5, True)])
def test_only_a_predictor_that_is_not_set_at_each_step_is_trained(freq, is_trained):
    method = make(freq=freq)
    named = [name for group in method.param_groups() for name, _ in group.named]
    assert ("predictors" in named) is is_trained
    method(pairs(8), FIRST).loss.backward()
    assert (method.predictors.grad is not None) is is_trained


def test_predictor_is_set_at_steps_1_and_6_if_freq_is_5():
    method, changed = make(freq=5), []
    for done in range(1, 8):
        before = method.predictors.detach().clone()
        carry = method(pairs(8, seed=done), FIRST).carry
        with torch.no_grad():
            method.after_step(Progress(done, 10, 5), carry)
        changed.append(not torch.equal(before, method.predictors))
    assert changed == [True, False, False, False, False, True, False]


def test_predictor_never_set_keeps_its_draw():
    method = make(freq=0)
    before = method.predictors.detach().clone()
    assert torch.equal(learn(method, 2).predictors, before)


def test_target_follows_with_constant_momentum_or_is_the_online_network():
    method = make()
    old, online = method.target[0][1].weight.clone(), method.encoder[1].weight
    learn(method, 1)
    assert torch.allclose(method.target[0][1].weight, 0.9 * old + 0.1 * online, atol=1e-7)
    assert make(target="online").target is None


def test_an_online_target_is_detached():
    method = learn(make(target="online"), 1)
    f = [method.projector(method.encoder(view)) for view in pairs(8).views]
    w = method.predictors[0]
    crossed = ((f[0] @ w.T, f[1].detach()), (f[1] @ w.T, f[0].detach()))
    expected = 4 - 2 * sum(cosine_similarity(p, t).mean() for p, t in crossed)
    weight = method.encoder[1].weight
    wanted = torch.autograd.grad(expected, weight)[0]
    found = torch.autograd.grad(method(pairs(8), FIRST).loss, weight)[0]
    assert torch.allclose(found, wanted, atol=1e-5)


def test_partitions_average_the_predictors_of_a_sample_s_sides():
    method = learn(make(partitions=2), 1)
    features = torch.randn(8, 6)
    shares = method.shares(features)
    found = method.predict(features, shares)
    along = features @ method.directions
    for row, f in enumerate(features):
        above = along[row] >= along.mean(dim=0)
        sides = [index if above[index] else index + 2 for index in range(2)]
        expected = sum(method.predictors[side] @ f for side in sides) / 2
        assert torch.allclose(found[row], expected, atol=1e-5)


def test_each_side_of_a_partition_has_its_own_correlation():
    features = torch.randn(10, 3)
    above = (torch.arange(10) < 4).float()
    found = correlations(features, torch.stack([above, 1 - above, torch.zeros(10)], dim=1))
    assert torch.allclose(found[0], features[:4].T @ features[:4] / 4, atol=1e-6)
    assert torch.allclose(found[1], features[4:].T @ features[4:] / 6, atol=1e-6)
    assert torch.equal(found[2], torch.zeros(3, 3))


def test_directions_are_unit_vectors_and_sides_split_at_the_mean():
    method = make(partitions=3)
    assert torch.allclose(method.directions.norm(dim=0), torch.ones(3))
    shifted = method.shares(torch.randn(64, 6) + 100)
    assert torch.equal(shifted[:, :3] + shifted[:, 3:], torch.ones(64, 3))
    assert 0.2 < shifted[:, :3].mean() < 0.8


def test_correlation_stays_in_float32_under_autocast():
    method = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = method(pairs(8), FIRST)
    assert {value.dtype for value in output.carry.values()} == {torch.float32}
    assert output.loss.dtype == torch.float32
