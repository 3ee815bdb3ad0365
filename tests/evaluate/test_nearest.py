import sys

import faiss
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sslcli.errors import UsageError
from sslcli.evaluate.nearest import build_index


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


@pytest.mark.parametrize(("threads", "calls"), [(1, 1), (2, 0), (3, 0)])
def test_the_faster_exact_search_runs(monkeypatch: pytest.MonkeyPatch, threads: int, calls: int):
    train, queries, seen = vectors(900, 0), vectors(600, 1), list[int]()
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    knn = faiss.knn
    monkeypatch.setattr(faiss, "knn", lambda x, *a, **k: seen.append(len(x)) or knn(x, *a, **k))
    assert torch.equal(build_index(train).search(queries, 20)[1], exact(train, queries, 20))
    assert len(seen) == calls  # 600 queries are few for each of two threads


def test_threads_share_the_queries_of_faiss(monkeypatch: pytest.MonkeyPatch):
    train, queries, before = vectors(900, 0), vectors(1201, 1), faiss.omp_get_max_threads()
    one = build_index(train).search(queries, 20)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    similarity, rows = build_index(train).search(queries, 20)
    assert torch.equal(rows, one[1])
    torch.testing.assert_close(similarity, one[0])
    assert faiss.omp_get_max_threads() == before


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


@pytest.mark.parametrize("k", [0, 6])
def test_k_must_fit(k: int):
    with pytest.raises(UsageError, match="5 samples") as caught:
        build_index(vectors(5, 0)).search(vectors(1, 1), k)
    assert caught.value.hint == "choose k from 1 to 5"
