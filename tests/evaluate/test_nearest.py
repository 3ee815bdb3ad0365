import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sslcli.errors import UsageError
from sslcli.evaluate.nearest import Kind, build_index, recall


def vectors(count: int, seed: int, dim: int = 16) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def exact(train: Tensor, queries: Tensor, k: int) -> Tensor:
    unit, query = (functional.normalize(x.double(), dim=1) for x in (train, queries))
    return (query @ unit.T).topk(k, dim=1).indices


def test_flat_search_is_exact_and_in_order():
    train, queries = vectors(500, 0), 5 * vectors(40, 1)
    similarity, rows = build_index(train).search(queries, 20)
    assert torch.equal(rows, exact(train, queries, 20))
    assert (similarity.diff(dim=1) <= 0).all()
    assert similarity.abs().max() <= 1 + 1e-6


def test_torch_takes_over_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    train, queries = vectors(500, 0), vectors(40, 1)
    index = build_index(train)
    assert "faiss is not installed" in index.backend
    assert torch.equal(index.search(queries, 20)[1], exact(train, queries, 20))
    with pytest.raises(UsageError, match="needs faiss"):
        build_index(train, "hnsw")


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_approximate_search_finds_most(kind: Kind):
    train, queries = vectors(3000, 0), vectors(50, 1)
    index = build_index(train, kind)
    assert f"faiss {kind}" in index.backend
    assert recall(exact(train, queries, 20), index.search(queries, 20)[1]) > 0.7


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_approximate_index_of_few_vectors(kind: Kind):
    train = vectors(5, 0)
    _, rows = build_index(train, kind).search(train, 5)
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("k", [0, 6])
def test_k_must_fit(k: int):
    with pytest.raises(UsageError, match="5 samples") as caught:
        build_index(vectors(5, 0)).search(vectors(1, 1), k)
    assert caught.value.hint == "choose k from 1 to 5"


def test_recall_ignores_order_and_missing():
    assert recall(torch.tensor([[1, 2, 3, 4]]), torch.tensor([[4, 9, 1, -1]])) == 0.5
