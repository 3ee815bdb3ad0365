"""Golden values, slow references and symmetries of MoCo's and InvaSpread's losses."""

import math

import pytest
import torch
from golden_input import golden
from torch.nn import functional

from sslcli.losses.contrastive import info_nce, invariant_spread, key_scores, nt_xent
from sslcli.losses.nce import candidate_chance


def queue():
    """Return the spec's 7 rows of z(0.31)."""
    i, j = torch.arange(7.0).double()[:, None], torch.arange(6.0).double()
    return torch.sin(0.31 * i + 1.3 * j + 0.17 * i * j + 0.5)


def rotation():
    noise = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double()
    return torch.linalg.qr(noise).Q


def slow_spread(z, temperature):
    """Return InvaSpread's loss in two parts: of the partners, and of all others."""
    z = z / z.norm(dim=1, keepdim=True)
    size, pulled, repelled = len(z), 0.0, 0.0
    for i in range(size):
        weight = {k: math.exp(float(z[i] @ z[k]) / temperature) for k in range(size) if k != i}
        share = {k: w / sum(weight.values()) for k, w in weight.items()}
        partner = (i + size // 2) % size
        pulled -= math.log(share.pop(partner)) / size
        repelled -= sum(math.log(1 - p) for p in share.values()) / size
    return pulled, repelled


@pytest.mark.parametrize(("temperature", "value"), [(0.07, 1.0539672048), (0.2, 1.0665326299)])
def test_info_nce_has_its_golden_values(temperature, value):
    loss = info_nce(key_scores(golden(0.7), golden(0.9), queue(), temperature))
    assert loss.item() == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 0.2384960975), (0.5, 1.3809653465)])
def test_invariant_spread_has_its_golden_values(temperature, value):
    loss = invariant_spread(golden(0.7), golden(0.9), temperature)
    assert loss.item() == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("size", [4096, 65536])
def test_orthogonal_keys_are_a_guess_among_the_queue(size):
    query, other = torch.eye(4)[:2], torch.eye(4)[2:]
    loss = info_nce(key_scores(query, other, torch.eye(4)[3].expand(size, -1), 0.07))
    assert loss.item() == pytest.approx(math.log(size + 1), abs=1e-5)


def test_invariant_spread_is_nt_xent_and_what_repels():
    views = torch.cat([golden(0.7), golden(0.9)])
    pulled, repelled = slow_spread(views, 0.1)
    assert nt_xent(golden(0.7), golden(0.9), 0.1).item() == pytest.approx(pulled, abs=1e-10)
    whole = invariant_spread(golden(0.7), golden(0.9), 0.1).item()
    assert whole == pytest.approx(pulled + repelled, abs=1e-10)


def test_equal_similarities_are_a_guess_among_the_batch():
    loss = invariant_spread(torch.eye(8)[:4], torch.eye(8)[4:], 0.5).item()
    assert loss == pytest.approx(candidate_chance(6), abs=1e-5)


def test_right_hand_factors_are_detached():
    """Each view's gradient comes from its own row alone, which a lone moving view shows."""
    a, b = golden(0.7).requires_grad_(), golden(0.9)
    invariant_spread(a, b, 0.5).backward()
    moving = golden(0.7)[0].requires_grad_()
    still = functional.normalize(torch.cat([golden(0.7)[1:], b]), dim=1)
    scores = still @ functional.normalize(moving, dim=0) / 0.5  # row 0's; its partner is number 3
    log_share = scores.log_softmax(dim=0)
    rest = torch.log1p(-log_share.exp())
    (-(log_share[3] + rest.sum() - rest[3]) / 8).backward()
    torch.testing.assert_close(a.grad[0], moving.grad)


def test_a_negative_that_is_certain_costs_a_finite_loss():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    loss = invariant_spread(a, torch.tensor([[-1.0, 0.0], [0.0, 1.0]]), 0.01)
    loss.backward()
    assert loss.isfinite()
    assert a.grad.isfinite().all()


def test_half_of_the_negatives_are_the_nearest_or_the_farthest():
    a, b = torch.eye(6)[:2], torch.tensor([[0.9, 0, 0, 0.1, 0, 0], [0.2, 0.8, 0, 0, 0, 0]])
    hard, easy = (invariant_spread(a, b, 0.5, kind).item() for kind in ("hard", "easy"))
    assert easy < hard < invariant_spread(a, b, 0.5).item()
    same = torch.eye(6)[[0, 0]]
    for kind in ("hard", "easy"):
        loss = invariant_spread(same, same, 0.5, kind).item()
        assert loss == pytest.approx(candidate_chance(1), abs=1e-6)


def test_scale_rotation_and_order_change_nothing():
    a, b, past = golden(0.7), golden(0.9), queue()
    order, turn = torch.tensor([2, 0, 3, 1]), rotation()
    contrast, spread = (
        info_nce(key_scores(a, b, past, 0.1)).item(),
        invariant_spread(a, b, 0.1).item(),
    )
    for x, y, z in (
        (3 * a, 3 * b, 3 * past),
        (a @ turn, b @ turn, past @ turn),
        (a[order], b[order], past),
    ):
        assert info_nce(key_scores(x, y, z, 0.1)).item() == pytest.approx(contrast, abs=1e-10)
        assert invariant_spread(x, y, 0.1).item() == pytest.approx(spread, abs=1e-10)
    assert invariant_spread(b, a, 0.1).item() == pytest.approx(spread, abs=1e-10)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        info_nce(key_scores(golden(0.7), golden(0.9), queue(), temperature))
    with pytest.raises(ValueError, match="temperature"):
        invariant_spread(golden(0.7), golden(0.9), temperature)
