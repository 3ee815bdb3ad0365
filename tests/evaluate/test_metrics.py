import math
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import confusion_matrix, recall_score
from torch.nn import functional

from sslcli.errors import DataError
from sslcli.evaluate.metrics import accuracy, check_features, check_labels, confusion, ranking


def test_classes_are_ranked_by_their_scores():
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.1, 0.7]])
    assert ranking(scores).tolist() == [[1, 2, 0], [0, 2, 1]]


def test_a_class_at_minus_infinity_is_not_ranked():
    assert ranking(torch.tensor([[0.0, -math.inf, -math.inf]])).tolist() == [[0, -1, -1]]


def test_accuracy_counts():
    scores = torch.arange(8.0).expand(4, 8)
    found = accuracy(ranking(scores), torch.tensor([7, 3, 2, 0]), 8, "by hand")
    assert found.as_dict() == {
        "top1": 0.25, "top5": 0.5, "n": 4, "protocol": "by hand", "mean_per_class": 0.25
    }  # fmt: skip


def test_each_class_has_its_own_accuracy_as_sklearn_has_it():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (200,), generator=generator)
    scores = torch.randn(200, 5, generator=generator) + functional.one_hot(labels, 5)
    found = accuracy(ranking(scores), labels, 5, "drawn")  # no sample is of the fifth class
    given = scores.argmax(dim=1)
    own = recall_score(labels, given, average=None, labels=range(4))
    assert found.mean_per_class == pytest.approx(own.mean())
    assert found.confusion.tolist() == confusion_matrix(labels, given, labels=range(5)).tolist()
    assert found.per_class == pytest.approx(dict(zip("0123", own, strict=True)))
    named = replace(found, classes=("a", "b", "c", "d", "e"))
    assert named.per_class["c"] == found.per_class["2"]


def test_rows_of_a_confusion_are_the_right_classes():
    given, right = torch.tensor([1, 1, 0]), torch.tensor([0, 1, 0])
    assert confusion(given, right, 2).tolist() == [[1, 1], [0, 1]]


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
