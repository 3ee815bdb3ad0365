"""Ranks, recall, chance and intervals of retrieval."""

import pytest
import torch

from sslcli.evaluate.retrieval import first_right_ranks, recall


def ranks_of(scores, right):
    """Rank by vectors whose inner products are the scores."""
    scores, right = torch.tensor(scores), torch.tensor(right)
    identity = torch.eye(scores.shape[1])
    return first_right_ranks(scores, identity, lambda block: right[block]).tolist()


def test_the_best_right_candidate_counts():
    scores = [[0.1, 0.9, 0.5, 0.3], [0.1, 0.9, 0.5, 0.3], [0.4, 0.3, 0.2, 0.1]]
    right = [[False, True, False, True], [True, False, False, True], [False, False, False, True]]
    assert ranks_of(scores, right) == [1, 3, 4]


def test_equal_scores_do_not_count_as_found():
    assert ranks_of([[0.5] * 5], [[True, False, False, False, False]]) == [3]
    assert ranks_of([[0.5] * 4], [[True, True, False, False]]) == [2]


def test_many_queries_are_ranked_in_blocks():
    vectors = torch.nn.functional.normalize(torch.randn(600, 16), dim=1)
    eye = torch.eye(600, dtype=torch.bool)
    ranks = first_right_ranks(vectors, vectors.roll(1, 0), lambda block: eye[block])
    scores = vectors @ vectors.roll(1, 0).T
    slow = [(scores[i] > scores[i, i]).sum().item() + 1 for i in range(600)]
    assert ranks.tolist() == slow


def test_recall_is_a_mean_over_images_with_an_interval():
    ranks = torch.tensor([1.0, 2.0, 6.0, 11.0, 1.0, 30.0])
    found = recall(ranks, [1] * 6, 40, [0, 0, 0, 0, 1, 1], seed=0)
    assert found.at == pytest.approx({1: 0.375, 5: 0.5, 10: 0.625})
    assert found.median_rank == 2
    assert (found.queries, found.candidates) == (6, 40)
    for k, (low, high) in found.intervals.items():
        assert low <= found.at[k] <= high


def test_the_interval_of_a_share_narrows_as_images_grow():
    few, many = (
        recall(torch.tensor([1.0, 20.0] * count), [1] * 2 * count, 50, range(2 * count), seed=0)
        for count in (10, 1000)
    )
    low, high = many.intervals[1]
    assert high - low == pytest.approx(2 * 1.96 * (0.25 / 2000) ** 0.5, rel=0.1)
    assert few.intervals[1][1] - few.intervals[1][0] > 5 * (high - low)


def test_chance_is_that_of_a_random_order():
    found = recall(torch.tensor([1.0, 1.0]), [1, 5], 10, [0, 1], seed=0)
    assert found.chance[1] == pytest.approx((0.1 + 0.5) / 2)
    no_hit = (5 / 10) * (4 / 9) * (3 / 8) * (2 / 7) * (1 / 6)
    assert found.chance[5] == pytest.approx((0.5 + 1 - no_hit) / 2)
    assert found.chance[10] == 1
