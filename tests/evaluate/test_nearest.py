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


@pytest.mark.parametrize(("threads", "backend"), [(1, "faiss, exact"), (2, "torch, exact")])
def test_the_faster_exact_search_runs(monkeypatch: pytest.MonkeyPatch, threads: int, backend: str):
    train, queries = vectors(900, 0), vectors(600, 1)  # queries enough for faiss
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    index = build_index(train)
    assert index.backend == backend
    assert torch.equal(index.search(queries, 20)[1], exact(train, queries, 20))


def test_blocks_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch):
    train, queries = vectors(500, 0), vectors(40, 1)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    whole = build_index(train).search(queries, 70)
    monkeypatch.setattr("sslcli.evaluate.nearest._VECTORS", 64)
    monkeypatch.setattr("sslcli.evaluate.nearest._QUERIES", 7)
    similarity, rows = build_index(train).search(queries, 70)
    assert torch.equal(rows, whole[1])
    torch.testing.assert_close(similarity, whole[0])


def test_products_are_exact_whatever_a_training_allowed():
    seen, before = [], torch.get_float32_matmul_precision()
    index = build_index(vectors(50, 0))

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is torch.mm:
                seen.append(torch.get_float32_matmul_precision())
            return func(*args, **(kwargs or {}))

    torch.set_float32_matmul_precision("high")
    try:
        with Spy():
            index.search(vectors(3, 1), 5)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["highest"]


def test_torch_takes_over_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
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
