import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from sslcli.errors import CheckpointError, DataError
from sslcli.evaluate.ood import aupr_in, aupr_out, auroc, fpr_at_95
from sslcli.evaluate.ood.bootstrap import Bootstrap
from sslcli.evaluate.ood.metrics import METRICS, rank

INSIDE = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.55, 0.95, 0.85, 0.75, 0.65, 0.5])
OUTSIDE = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.58, 0.62, 0.15, 0.25, 0.35, 0.45])
GRID = torch.linspace(0, 1, 100, dtype=torch.float64)


def draw(seed: int, levels: int | None) -> tuple[Tensor, Tensor]:
    """Return overlapping scores, on a few levels so that many tie, or on none."""
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(83, generator=generator) + 1, torch.randn(131, generator=generator)
    return tuple(x if levels is None else (x * levels).round() for x in pair)


def test_the_golden_set():
    assert auroc(INSIDE, OUTSIDE) == pytest.approx(0.95)
    assert fpr_at_95(INSIDE, OUTSIDE) == pytest.approx(0.2)
    assert fpr_at_95(INSIDE, OUTSIDE, positive="outside") == pytest.approx(0.3)
    assert aupr_in(INSIDE, OUTSIDE) == pytest.approx(0.95404, abs=5e-6)
    assert aupr_out(INSIDE, OUTSIDE) == pytest.approx(0.95874, abs=5e-6)


def test_the_two_conventions_of_fpr_differ_on_asymmetric_scores():
    inside, outside = GRID**0.3, 0.9 * GRID**2
    assert auroc(inside, outside) == pytest.approx(0.89965)
    assert fpr_at_95(inside, outside, positive="inside") == pytest.approx(0.33)
    assert fpr_at_95(inside, outside, positive="outside") == pytest.approx(0.50)


@pytest.mark.parametrize("levels", [None, 4, 1])
def test_metrics_equal_scikit_learn_also_on_ties(levels: int | None):
    inside, outside = draw(0, levels)
    truth, scores = np.r_[np.ones(83), np.zeros(131)], torch.cat([inside, outside]).numpy()
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(truth, scores))
    assert aupr_in(inside, outside) == pytest.approx(average_precision_score(truth, scores))
    reverse = average_precision_score(1 - truth, -scores)
    assert aupr_out(inside, outside) == pytest.approx(reverse)


def test_auroc_counts_pairs_and_halves_ties():
    inside, outside = draw(1, 2)
    pairs = [(a > b) + (a == b) / 2 for a in inside.tolist() for b in outside.tolist()]
    assert auroc(inside, outside) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    assert auroc(torch.zeros(3), torch.zeros(5)) == 0.5


@pytest.mark.parametrize("levels", [None, 3])
def test_fpr_equals_a_search_over_thresholds(levels: int | None):
    inside, outside = draw(2, levels)

    def search(positive: Tensor, negative: Tensor) -> float:
        passing = [t for t in positive.tolist() if (positive >= t).double().mean() >= 0.95]
        return (negative >= max(passing)).double().mean().item()

    assert fpr_at_95(inside, outside) == pytest.approx(search(inside, outside))
    assert fpr_at_95(inside, outside, "outside") == pytest.approx(search(-outside, -inside))


def test_nineteen_of_twenty_are_95_percent():
    inside = torch.cat([torch.tensor([-1.0]), torch.ones(19)])
    assert fpr_at_95(inside, torch.zeros(4)) == 0.0


def test_infinite_scores_rank_and_nan_or_nothing_is_refused():
    assert auroc(torch.tensor([math.inf, 1.0]), torch.tensor([-math.inf])) == 1.0
    with pytest.raises(CheckpointError, match="1 scores of the outside set are NaN"):
        auroc(torch.zeros(2), torch.tensor([math.nan]))
    with pytest.raises(DataError, match="inside"):
        auroc(torch.zeros(0), torch.zeros(1))
    with pytest.raises(ValueError, match="both"):
        fpr_at_95(torch.zeros(1), torch.zeros(1), positive="both")


def test_bootstrap_equals_measuring_each_resample():
    inside, outside = draw(3, 3)
    bootstrap = Bootstrap(83, 131, seed=0, resamples=20)
    each = []
    for row in torch.from_numpy(bootstrap.weights).long():
        own, other = (
            x.repeat_interleave(w)
            for x, w in zip((inside, outside), row.split([83, 131]), strict=True)
        )
        assert (len(own), len(other)) == (83, 131)
        each.append(rank(own, other))
    for name, (low, high) in bootstrap.intervals(inside, outside).items():
        values = [measured[name] for measured in each]
        assert (low, high) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))))


def test_intervals_follow_the_seed_and_hold_the_value():
    inside, outside = draw(4, None)
    first, again, other = (
        Bootstrap(83, 131, seed).intervals(inside, outside) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first.keys() == set(METRICS)
    low, high = first["auroc"]
    assert low < auroc(inside, outside) < high < low + 0.2


def test_interval_of_the_auroc_is_as_wide_as_delong_says():
    inside, outside = draw(5, None)
    wins = (inside[:, None] > outside).double()
    variance = wins.mean(1).var() / 83 + wins.mean(0).var() / 131
    low, high = Bootstrap(83, 131, seed=0).intervals(inside, outside)["auroc"]
    assert high - low == pytest.approx(2 * 1.96 * variance.sqrt().item(), rel=0.15)


def test_a_bootstrap_of_other_sizes_is_refused():
    with pytest.raises(ValueError, match="not"):
        Bootstrap(3, 4, seed=0, resamples=2).intervals(torch.zeros(3), torch.zeros(5))
