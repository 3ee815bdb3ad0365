"""Classify by a weighted vote of nearest neighbours (Wu et al. 2018, arXiv:1805.01978, 3.4)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.metrics import (
    Accuracy,
    accuracy,
    check_features,
    check_labels,
    check_two_classes,
    ranking,
)
from sslcli.evaluate.nearest import Index, build_index

_QUERIES = 4096  # a block of queries: bounds the memory of votes, [block, classes]


@dataclass(frozen=True)
class KNNAccuracy(Accuracy):
    """Accuracy of the vote, and the search that found its neighbours.

    Attributes:
        backend: The search that ran.
    """

    backend: str


def vote(
    similarity: Float[Tensor, "batch k"],
    neighbours: Int[Tensor, "batch k"],
    temperature: float,
    num_classes: int,
) -> Float[Tensor, "batch classes"]:
    """Return the log of each class's sum of exp(similarity / temperature).

    Taken relative to the nearest neighbour, so that no temperature overflows. A class without a
    neighbour, or with neighbours of no weight, gets minus infinity.

    Args:
        similarity: Cosine of each neighbour, nearest first.
        neighbours: Class of each neighbour.
        temperature: Divides the cosines; small ones let the nearest decide.
        num_classes: C.
    """
    weights = ((similarity - similarity[:, :1]) / temperature).exp()
    votes = weights.new_zeros(len(weights), num_classes)
    return votes.scatter_add_(1, neighbours, weights).log()


def knn_classify(
    train: Float[Tensor, "n dim"],
    train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "batch dim"],
    k: int,
    temperature: float,
    num_classes: int,
) -> Int[Tensor, " batch"]:
    """Return the class of each test sample by an exact search.

    Args:
        train: Features with known classes, normalised inside.
        train_labels: Their classes, in [0, num_classes).
        test: Features to classify, normalised inside.
        k: Number of neighbours that vote.
        temperature: Of the weights exp(cosine / temperature).
        num_classes: C.

    Raises:
        UsageError: If `k` exceeds the training set, or a feature is not finite.
        DataError: If a set is empty, or all training samples are of one class.
    """
    _check(train, train_labels, test, temperature, num_classes)
    index = build_index(train)
    scores = [
        _scores(index, train_labels, part, k, temperature, num_classes)
        for part in test.split(_QUERIES)
    ]
    return torch.cat([each.argmax(dim=1) for each in scores])


def evaluate_knn(
    train: Float[Tensor, "n dim"],
    train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "batch dim"],
    test_labels: Int[Tensor, " batch"],
    *,
    k: int,
    temperature: float,
    num_classes: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> KNNAccuracy:
    """Return the accuracy of the vote on the test samples.

    Args:
        train: See `knn_classify`.
        train_labels: See `knn_classify`.
        test: See `knn_classify`.
        test_labels: The right classes.
        k: See `knn_classify`.
        temperature: See `knn_classify`.
        num_classes: See `knn_classify`.
        device: Where the exact search runs; the features are on the CPU.
        progress: Called with the samples classified and their number.
    """
    _check(train, train_labels, test, temperature, num_classes)
    check_labels("test", test, test_labels, num_classes)
    index = build_index(train, device)
    ranked: list[Tensor] = []
    for part in test.split(_QUERIES):
        ranked.append(ranking(_scores(index, train_labels, part, k, temperature, num_classes)))
        if progress:
            progress(sum(map(len, ranked)), len(test))
    protocol = f"weighted kNN, k={k}, T={temperature:g}, {len(train)} neighbours, {index.backend}"
    measured = accuracy(torch.cat(ranked), test_labels, num_classes, protocol)
    return KNNAccuracy(**vars(measured), backend=index.backend)


def _scores(
    index: Index, labels: Tensor, test: Tensor, k: int, temperature: float, num_classes: int
) -> Tensor:
    similarity, rows = index.search(test, k)
    return vote(similarity, labels[rows], temperature, num_classes)


def _check(
    train: Tensor, labels: Tensor, test: Tensor, temperature: float, num_classes: int
) -> None:
    check_features("training", train)
    check_features("test", test)
    check_labels("training", train, labels, num_classes)
    check_two_classes("training", labels)
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"training features have {train.shape[1]} numbers, test {test.shape[1]}")
    if not temperature > 0:
        raise UsageError(f"the temperature must be positive, got {temperature}", "temperature")
