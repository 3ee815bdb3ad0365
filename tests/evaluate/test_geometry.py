import math

import pytest
import torch
from golden_input import golden
from torch.nn import functional

from sslcli.evaluate.geometry import alignment, effective_rank, uniformity


def test_alignment_golden():
    assert alignment(golden(0.7), golden(0.9)).item() == pytest.approx(0.1487400339, abs=1e-6)


@pytest.mark.parametrize(("a", "value"), [(0.7, -2.7555443281), (0.9, -3.5432421)])
def test_uniformity_golden(a: float, value: float):
    assert uniformity(golden(a)).item() == pytest.approx(value, abs=2e-6)


def test_alignment_of_orthogonal_pairs_is_2_and_of_opposite_4():
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert alignment(x, y).item() == pytest.approx(2)
    assert alignment(x, -x).item() == pytest.approx(4)
    assert alignment(x, x).item() == 0


def test_alignment_to_the_power_1_is_the_mean_distance():
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert alignment(x, y, alpha=1).item() == pytest.approx(math.sqrt(2))


def test_uniformity_of_two_antipodal_points_is_minus_8():
    x = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    assert uniformity(torch.cat([x, -x])).item() == pytest.approx(-8, abs=1e-5)


def test_uniformity_of_identical_points_is_0():
    assert uniformity(torch.ones(10, 7)).item() == pytest.approx(0, abs=1e-6)


def test_uniformity_equals_pairwise_distances():
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    unit = functional.normalize(x.double(), dim=1)
    expected = torch.pdist(unit).square().mul(-3).exp().mean().log()
    assert uniformity(x, t=3).item() == pytest.approx(expected.item(), abs=1e-5)


def test_uniformity_does_not_underflow():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(x, t=500).item() == pytest.approx(-2000)


def test_uniformity_subsamples_by_seed():
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    first, again, other = (uniformity(x, max_samples=100, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert first.item() == pytest.approx(uniformity(x).item(), abs=0.1)


def test_geometry_ignores_scale_and_keeps_gradients_finite():
    x = golden(0.7).requires_grad_()
    assert uniformity(3 * x).item() == pytest.approx(uniformity(x).item(), abs=1e-6)
    (uniformity(x) + alignment(x, golden(0.9), alpha=2)).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_geometry_refuses_nonsense():
    with pytest.raises(ValueError, match="two samples"):
        uniformity(torch.ones(1, 3))
    with pytest.raises(ValueError, match="t must"):
        uniformity(torch.ones(2, 3), t=0)
    with pytest.raises(ValueError, match="alpha must"):
        alignment(torch.ones(2, 3), torch.ones(2, 3), alpha=-1)


def test_effective_rank_counts_equal_directions():
    x = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(x).item() == pytest.approx(6, rel=1e-3)
