"""Correlations of similarities with scores: golden cases, ties, and what has no score."""

import math

import pytest
import torch
from scipy import stats

from sslcli.evaluate.sts import average, pearson, scored, similarities, spearman, word_overlap

torch.manual_seed(0)
A, B = torch.randn(50).double(), torch.randint(0, 6, (50,)).double()


def test_correlations_are_scipy_s_with_average_ranks_for_ties():
    assert spearman(A, B) == pytest.approx(stats.spearmanr(A, B).statistic, abs=1e-12)
    assert pearson(A, B) == pytest.approx(stats.pearsonr(A, B).statistic, abs=1e-12)


def test_order_alone_counts_for_spearman():
    assert spearman(A, A.exp()) == pytest.approx(1)
    assert spearman(A, -A) == pytest.approx(-1)


def test_what_is_constant_has_no_correlation():
    assert spearman(A, torch.ones(50)) == 0
    with pytest.raises(ValueError, match="two pairs"):
        spearman(A[:1], B[:1])


def test_a_zero_vector_is_similar_to_nothing():
    assert similarities(torch.zeros(1, 3), torch.ones(1, 3)).item() == 0


def test_all_mean_and_weighted_mean_differ_and_leave_out_what_is_not_judged():
    gold = B.clone()
    gold[3] = math.nan
    subsets = {"x": torch.arange(10), "y": torch.arange(10, 50)}
    found = scored(A, gold, subsets)
    kept = [i for i in range(50) if i != 3]
    one = spearman(A[kept[:9]], B[kept[:9]])
    two = spearman(A[10:], B[10:])
    assert (found.n, found.spearman) == (49, spearman(A[kept], B[kept]))
    assert found.mean == pytest.approx((one + two) / 2)
    assert found.wmean == pytest.approx((9 * one + 40 * two) / 49)


def test_there_is_an_average_of_all_seven_tasks_alone():
    one = scored(A, B, {"": torch.arange(50)})
    names = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr")
    assert average(dict.fromkeys(names, one)) == pytest.approx(one.spearman)
    assert average({"stsb": one}) is None


def test_words_that_two_sentences_share():
    assert word_overlap("A red one.", "the red one") == 0.5
    assert word_overlap("", "") == 0
