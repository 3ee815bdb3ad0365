import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from sslcli.errors import DataError, UsageError
from sslcli.evaluate.knn import evaluate_knn, knn_classify, vote


def clusters(count: int, seed: int, classes: int = 7, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    centres = torch.randn(classes, 12, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    return centres[labels] + noise * torch.randn(count, 12, generator=generator), labels


def slow_votes(
    train: Tensor, labels: Tensor, query: Tensor, k: int, temperature: float, classes: int
) -> list[float]:
    """Sum exp(cosine / temperature) over the k nearest, in plain Python."""

    def unit(x: list[float]) -> list[float]:
        norm = math.sqrt(sum(value**2 for value in x))
        return [value / norm for value in x]

    near = unit(query.tolist())
    cosines = [
        (sum(a * b for a, b in zip(unit(row), near, strict=True)), label)
        for row, label in zip(train.tolist(), labels.tolist(), strict=True)
    ]
    votes = [0.0] * classes
    for cosine, label in sorted(cosines, reverse=True)[:k]:
        votes[label] += math.exp(cosine / temperature)
    return votes


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (20, 0.07), (200, 1.0)])
def test_knn_equals_the_slow_reference(k: int, temperature: float):
    train, labels = clusters(200, 0)
    test, right = clusters(40, 1)
    votes = [slow_votes(train, labels, query, k, temperature, 7) for query in test]
    ranked = torch.tensor(votes).argsort(dim=1, descending=True).tolist()
    assert knn_classify(train, labels, test, k, temperature, 7).tolist() == [r[0] for r in ranked]
    report = evaluate_knn(train, labels, test, right, k=k, temperature=temperature, num_classes=7)
    hits = [right[i] in [c for c in ranked[i][:5] if votes[i][c] > 0] for i in range(len(test))]
    assert report.top5 == pytest.approx(sum(hits) / 40)


def test_vote_weighs_by_hand():
    similarity, neighbours = torch.tensor([[1.0, 0.9, 0.8]]), torch.tensor([[2, 0, 0]])
    scores = vote(similarity, neighbours, 0.1, 3).exp()
    expected = torch.tensor([[math.exp(-1) + math.exp(-2), 0, 1]])
    torch.testing.assert_close(scores, expected)


def test_vote_does_not_overflow():
    similarity, neighbours = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[1, 1, 1]])
    assert vote(similarity, neighbours, 1e-4, 2).tolist() == [[-math.inf, 0.0]]


def test_report_names_number_protocol_and_backend():
    train, labels = clusters(300, 0)
    report = evaluate_knn(
        train, labels, *clusters(50, 1), k=10, temperature=0.1, num_classes=7
    ).as_dict()
    assert report["n"] == 50
    assert report["backend"].endswith(", exact")
    assert report["protocol"].startswith("weighted kNN, k=10, T=0.1")


def test_top5_is_not_measured_below_six_classes():
    train, labels = clusters(100, 0, classes=5)
    report = evaluate_knn(train, labels, train, labels, k=1, temperature=0.1, num_classes=5)
    assert report.top1 == 1
    assert report.as_dict()["top5"] is None


def test_scale_of_features_does_not_matter():
    train, labels = clusters(200, 0)
    test, _ = clusters(50, 1)
    once = knn_classify(train, labels, test, 20, 0.1, 7)
    assert torch.equal(once, knn_classify(100 * train, labels, 0.01 * test, 20, 0.1, 7))


def test_bad_input_is_refused():
    train, labels = clusters(20, 0)
    with pytest.raises(UsageError, match="k is 21"):
        knn_classify(train, labels, train, 21, 0.1, 7)
    with pytest.raises(UsageError, match="temperature"):
        knn_classify(train, labels, train, 5, 0.0, 7)
    with pytest.raises(UsageError, match="NaN"):
        knn_classify(train, labels, train / 0, 5, 0.1, 7)
    with pytest.raises(DataError, match="empty"):
        knn_classify(train, labels, train[:0], 5, 0.1, 7)
    with pytest.raises(DataError, match="one class"):
        knn_classify(train, labels * 0, train, 5, 0.1, 7)
    with pytest.raises(ValueError, match="outside"):
        knn_classify(train, labels, train, 5, 0.1, 3)


def test_faiss_is_imported_only_when_used():
    code = "import sys, sslcli.evaluate.knn; print('faiss' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
