"""Golden values, closed forms and a slow reference of SwAV's assignment and loss."""

import math

import pytest
import torch
from golden_input import golden
from torch.nn.functional import normalize

from sslcli.losses.swav import sinkhorn, swapped_prediction


def golden_scores():
    prototypes = normalize(golden_rows(0.31, 5), dim=1)
    return [normalize(golden(a), dim=1) @ prototypes.T for a in (0.7, 0.9)]


def golden_rows(a: float, rows: int) -> torch.Tensor:
    i, j = torch.meshgrid(torch.arange(rows).double(), torch.arange(6.0).double(), indexing="ij")
    return torch.sin(a * i + 1.3 * j + 0.17 * i * j + 0.5)


def slow_sinkhorn(scores, epsilon, iterations):
    samples, prototypes = scores.shape
    q = [
        [math.exp(float(scores[n, k]) / epsilon) for n in range(samples)] for k in range(prototypes)
    ]
    total = sum(map(sum, q))
    q = [[value / total for value in row] for row in q]
    for _ in range(iterations):
        q = [[value / sum(row) / prototypes for value in row] for row in q]
        columns = [sum(row[n] for row in q) for n in range(samples)]
        q = [[row[n] / columns[n] / samples for n in range(samples)] for row in q]
    return torch.tensor([[q[k][n] * samples for k in range(prototypes)] for n in range(samples)])


def test_the_loss_has_its_golden_value():
    scores = golden_scores()
    assignments = [sinkhorn(score, 0.05, 3) for score in scores]
    found = swapped_prediction(scores, assignments, 0.1)
    assert found.item() == pytest.approx(0.4967495933, abs=1e-10)
    expected = [0.918497, 0.0815011, 1.83e-6, 2e-12, 1e-12]
    assert assignments[0][0].tolist() == pytest.approx(expected, rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_sinkhorn_equals_the_papers_algorithm(iterations):
    scores = golden_scores()[0]
    slow = slow_sinkhorn(scores, 0.05, iterations).double()
    torch.testing.assert_close(sinkhorn(scores, 0.05, iterations), slow, atol=1e-7, rtol=1e-6)


def test_samples_add_up_to_one_and_prototypes_get_equally_many_in_the_limit():
    scores = golden_scores()[0]
    few, many = sinkhorn(scores, 0.05, 3), sinkhorn(scores, 0.05, 1000)
    torch.testing.assert_close(few.sum(dim=1), torch.ones(4).double())
    assert (few.sum(dim=0) - 4 / 5).abs().max().item() == pytest.approx(0.244, abs=1e-3)
    assert (many.sum(dim=0) - 4 / 5).abs().max() < 1e-12


def test_a_sample_left_out_changes_no_other():
    scores = golden_scores()[0].float()
    joined = torch.cat([torch.full((3, 5), -torch.inf), scores])
    shares = sinkhorn(joined, 0.05, 3)
    assert not shares[:3].any()
    torch.testing.assert_close(shares[3:], sinkhorn(scores, 0.05, 3))


def test_equal_scores_are_chance():
    scores = [torch.zeros(4, 7)] * 3
    assignments = [sinkhorn(score, 0.05, 3) for score in scores[:2]]
    torch.testing.assert_close(assignments[0], torch.full((4, 7), 1 / 7))
    loss = swapped_prediction(scores, assignments, 0.1)
    assert loss.item() == pytest.approx(math.log(7), abs=1e-6)


def test_half_precision_scores_are_assigned_in_float32():
    scores = torch.ones(2, 3, dtype=torch.float16)
    assert sinkhorn(scores, 0.05, 3).isfinite().all()
    assert sinkhorn(scores, 0.05, 3).dtype == torch.float32


def test_the_order_of_samples_does_not_matter():
    scores = golden_scores()
    order = torch.tensor([2, 0, 3, 1])
    turned = [score[order] for score in scores]

    def loss(views):
        return swapped_prediction(views, [sinkhorn(s, 0.05, 3) for s in views], 0.1)

    torch.testing.assert_close(loss(turned), loss(scores))
    torch.testing.assert_close(loss(scores[::-1]), loss(scores))


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.0, 3), (0.05, 0)])
def test_settings_out_of_range_are_errors(epsilon, iterations):
    with pytest.raises(ValueError, match="must be positive"):
        sinkhorn(torch.zeros(2, 2), epsilon, iterations)


def test_a_prediction_needs_another_view_and_a_temperature():
    one = torch.ones(2, 2) / 2
    with pytest.raises(ValueError, match="two views"):
        swapped_prediction([one], [one], 0.1)
    with pytest.raises(ValueError, match="temperature"):
        swapped_prediction([one, one], [one], 0.0)
