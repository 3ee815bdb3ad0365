"""Find nearest neighbours by cosine, exactly: in torch, or in faiss where that is the faster."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.errors import UsageError

# Measured, 50,000 vectors of 256 numbers: with one thread faiss takes 0.6 of torch's time for 2,000
# queries, and four times as long for 200. It gains nothing by a second thread of its own, so each
# of ours searches for its share of the queries.
_MANY = 512  # queries a thread from which faiss wins
_QUERIES, _VECTORS = 512, 2**16  # of a block of products, 128 MiB

Search = Callable[[Tensor, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Index:
    """Vectors that can be searched.

    Attributes:
        size: Number of vectors.
        backend: The search, in words for the user.
        run: Takes unit queries [B, D] and k, gives similarities [B, k] and rows [B, k].
    """

    size: int
    backend: str
    run: Search

    def search(
        self, queries: Float[Tensor, "batch dim"], k: int
    ) -> tuple[Float[Tensor, "batch k"], Int[Tensor, "batch k"]]:
        """Return the cosines and rows of the `k` nearest vectors, nearest first.

        Raises:
            UsageError: If there are no `k` vectors.
        """
        if not 1 <= k <= self.size:
            raise UsageError(
                f"k is {k}, but there are {self.size} samples to be neighbours",
                where="k",
                hint=f"choose k from 1 to {self.size}",
            )
        return self.run(functional.normalize(queries, dim=1), k)


def build_index(vectors: Float[Tensor, "n dim"], device: torch.device | str = "cpu") -> Index:
    """Return an index over `vectors`, which are normalised inside.

    The search runs in torch; on the CPU in faiss, if that is installed, for as many queries as it
    is the faster for.

    Args:
        vectors: On the CPU.
        device: Where the search runs, block by block; results come back to the CPU.
    """
    unit, device = functional.normalize(vectors, dim=1).contiguous(), torch.device(device)
    in_torch = _torch_search(unit, device)
    if device.type != "cpu":
        return Index(len(unit), "torch, exact", in_torch)
    try:
        import faiss  # noqa: PLC0415  (0.2 s, and its own OpenMP threads: only when used)
    except ImportError:
        return Index(len(unit), "torch, exact (faiss is not installed)", in_torch)
    in_faiss = _faiss_search(faiss, unit)

    def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        is_many = len(queries) >= _MANY * torch.get_num_threads()
        return in_faiss(queries, k) if is_many else in_torch(queries, k)

    return Index(len(unit), "faiss or torch, exact", search)


def _faiss_search(faiss: Any, unit: Tensor) -> Search:
    vectors = unit.numpy()

    def find(part: Tensor, k: int) -> tuple[Tensor, Tensor]:
        faiss.omp_set_num_threads(1)  # which OpenMP keeps for this thread alone
        found = faiss.knn(part.numpy(), vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])

    def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        parts = queries.contiguous().chunk(torch.get_num_threads())
        with ThreadPoolExecutor(len(parts)) as threads:
            found = list(threads.map(find, parts, repeat(k)))
        similarity, rows = zip(*found, strict=True)
        return torch.cat(similarity), torch.cat(rows)

    return search


def _torch_search(unit: Tensor, device: torch.device) -> Search:
    def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        with _exact_products():
            found = [_scan(part.to(device), unit, k) for part in queries.split(_QUERIES)]
        similarity, rows = (torch.cat(each).cpu() for each in zip(*found, strict=True))
        return similarity, rows

    return search


def _scan(queries: Tensor, unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Search all vectors for a block of queries, and keep the best of block after block."""
    best: tuple[Tensor, Tensor] | None = None
    buffer = queries.new_empty(len(queries) * min(_VECTORS, len(unit)))  # fresh pages cost a third
    for start in range(0, len(unit), _VECTORS):
        block = unit[start : start + _VECTORS].to(queries.device)
        products = buffer[: len(queries) * len(block)].view(len(queries), -1)  # [B, V]
        similarity, rows = torch.mm(queries, block.T, out=products).topk(min(k, len(block)), dim=1)
        rows = rows + start
        if best is not None:
            similarity, rows = torch.cat([best[0], similarity], 1), torch.cat([best[1], rows], 1)
            similarity, chosen = similarity.topk(min(k, similarity.shape[1]), dim=1)
            rows = rows.gather(1, chosen)
        best = similarity, rows
    assert best is not None, "there are vectors"
    return best


@contextmanager
def _exact_products() -> Iterator[None]:
    """Multiply in float32 throughout, also after a training has allowed a GPU to use TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
