"""Pairs that are all but the same, rows like no other, and neither by chance."""

import pytest
import torch
from torch.nn import functional

from sslcli.errors import UsageError
from sslcli.evaluate.alike import near_duplicates, neighbourhood, outliers


def cloud(count, dim=8, seed=0):
    """Return vectors whose directions fill a patch of the sphere."""
    noise = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return torch.eye(dim)[0] * 4 + noise


def pairs_of(found):
    return {(a, b) for a, b in zip(found.first.tolist(), found.second.tolist(), strict=True)}


def test_neighbours_are_the_nearest_other_rows():
    features = cloud(60)
    features[7] = 2 * features[3]  # of the same direction: the row itself may come second
    unit = functional.normalize(features.double(), dim=1)
    cosines = (unit @ unit.T).fill_diagonal_(-2)
    expected = cosines.topk(10, dim=1)
    found = neighbourhood(features)
    torch.testing.assert_close(found.cosines.double(), expected.values, atol=1e-6, rtol=0)
    assert not (found.rows == torch.arange(60)[:, None]).any()
    assert found.rows[7, 0] == 3


def test_copies_are_found_and_chance_brings_hardly_any():
    features = cloud(1000)
    found = near_duplicates(neighbourhood(features))
    assert len(found.first) <= 3
    assert "1 row is expected by chance" in found.rule
    step = 0.01 * torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    copies = torch.cat([features, features[:20] + step])
    planted = {(row, 1000 + row) for row in range(20)}
    found = near_duplicates(neighbourhood(copies))
    assert planted <= pairs_of(found)
    assert len(found.first) <= 23
    assert (found.cosines.diff() <= 0).all()


def test_equal_features_always_count():
    features = torch.cat([cloud(100), cloud(1).expand(30, 8)])
    found = pairs_of(near_duplicates(neighbourhood(features)))
    assert {row for pair in found for row in pair} >= set(range(100, 130))


def test_a_cosine_may_be_given_instead():
    features = cloud(50)
    found = near_duplicates(neighbourhood(features), similarity=0.99)
    unit = functional.normalize(features, dim=1)
    cosines = (unit @ unit.T).triu(diagonal=1)
    assert pairs_of(found) == {(int(a), int(b)) for a, b in (cosines >= 0.99).nonzero()}
    assert found.rule == "a cosine of at least 0.99"


def test_a_row_apart_is_an_outlier_and_the_others_are_none():
    features = cloud(300)
    assert len(outliers(neighbourhood(features))[0]) <= 3
    features[5] = -features[5]
    far, distances, limit = outliers(neighbourhood(features))
    assert far[0] == 5
    assert distances[5] > limit


def test_two_rows_cannot_be_compared():
    with pytest.raises(UsageError, match="2 rows"):
        neighbourhood(cloud(2))
    assert neighbourhood(cloud(3)).rows.shape == (3, 2)
