import math

import pytest
import torch

from sslcli.errors import DataError
from sslcli.evaluate.metrics import accuracy, check_features, check_labels, top_hits


def test_hits_follow_the_ranking():
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.1, 0.7]])
    hits = top_hits(scores, torch.tensor([2, 0]))
    assert hits.tolist() == [[False, True, False], [True, False, False]]


def test_a_class_at_minus_infinity_is_not_ranked():
    scores = torch.tensor([[0.0, -math.inf, -math.inf]])
    assert not top_hits(scores, torch.tensor([1])).any()


def test_accuracy_counts():
    scores = torch.arange(8.0).expand(4, 8)
    found = accuracy(top_hits(scores, torch.tensor([7, 3, 2, 0])), 8, "by hand")
    assert found.as_dict() == {"top1": 0.25, "top5": 0.5, "n": 4, "protocol": "by hand"}


def test_labels_are_checked():
    features = torch.ones(3, 2)
    with pytest.raises(ValueError, match="3 test features, but 2 labels"):
        check_labels("test", features, torch.tensor([0, 1]), 2)
    with pytest.raises(ValueError, match="outside"):
        check_labels("test", features, torch.tensor([0, -1, 1]), 2)
    with pytest.raises(DataError, match="one class"):
        check_labels("test", features, torch.tensor([0, 0, 0]), 1)


def test_empty_features_are_refused():
    with pytest.raises(DataError, match="the test set is empty"):
        check_features("test", torch.ones(0, 2))
