"""Noise-contrastive estimation against its golden value, a slow reference and closed forms."""

import math

import pytest
import torch
from golden_input import golden
from torch.nn import functional

from sslcli.losses.nce import candidate_chance, estimated_normalizer, instance_nce


def golden_scores():
    """Scores of 4 embeddings against 6 rows each, the first of which is their own; T = 0.1."""
    line = torch.arange(24.0, dtype=torch.float64)[:, None]
    column = torch.arange(6.0, dtype=torch.float64)
    rows = torch.sin(0.31 * line + 1.3 * column + 0.17 * line * column + 0.5)
    rows = functional.normalize(rows, dim=1).view(4, 6, 6)
    return torch.einsum("bd,bkd->bk", functional.normalize(golden(0.7), dim=1), rows) / 0.1


def slow_nce(scores, n, z, epsilon):
    m, total = scores.shape[1] - 1, 0.0
    for row in scores:
        own, *others = (math.exp(score) / z for score in row.tolist())
        total -= math.log(own / (own + m / n + epsilon))
        total -= sum(math.log(m / n / (p + m / n + epsilon)) for p in others)
    return total / len(scores)


def test_it_has_its_golden_values():
    scores = golden_scores()
    normalizer = estimated_normalizer(scores, 50)
    assert normalizer.item() == pytest.approx(90274.57733, abs=1e-5)
    assert slow_nce(scores, 50, normalizer.item(), 1e-7) == pytest.approx(7.2370571825, abs=1e-10)
    loss = instance_nce(scores[:, 0], scores[:, 1:], 50, normalizer).item()
    assert loss == pytest.approx(slow_nce(scores, 50, normalizer.item(), 0.0), abs=1e-10)
    assert loss == pytest.approx(7.2370571825, abs=1e-5)  # which has 1e-7 in its denominators


@pytest.mark.parametrize("m", [1, 5, 4096])
def test_uniform_shares_give_the_chance(m):
    scores = torch.zeros(3, m)
    loss = instance_nce(scores[:, 0], scores, 1000, torch.tensor(1000.0))
    assert loss.item() == pytest.approx(candidate_chance(m), rel=1e-5)
    assert candidate_chance(m) == pytest.approx(math.log(1 + m) - m * math.log(m / (1 + m)))


def test_no_candidates_leave_nothing_to_guess():
    assert candidate_chance(0) == 0.0


def test_extreme_scores_stay_finite_in_half_precision():
    scores = torch.tensor([[14.3, -14.3], [-14.3, 14.3]], dtype=torch.bfloat16, requires_grad=True)
    loss = instance_nce(scores[:, 0], scores[:, 1:], 1_000_000, torch.tensor(1e-6))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert scores.grad.isfinite().all()


def test_a_data_set_without_instances_is_refused():
    with pytest.raises(ValueError, match="instances"):
        instance_nce(torch.zeros(2), torch.zeros(2, 3), 0, torch.tensor(1.0))
