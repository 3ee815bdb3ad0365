"""Find nearest neighbours by cosine: exactly in torch or faiss, or by an index of faiss."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.errors import UsageError

# Measured, 50,000 vectors of 256 numbers: with one thread faiss takes 0.6 of torch's time for 2,000
# queries, and four times as long for 200. It gains nothing by a second thread, torch almost twice.
_MANY = 512  # queries from which faiss wins, with one thread
_QUERIES, _VECTORS = 512, 2**16  # of a block of products, 128 MiB

Kind = Literal["flat", "ivf", "hnsw"]
Search = Callable[[Tensor, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Index:
    """Vectors that can be searched.

    Attributes:
        size: Number of vectors.
        kind: "flat" compares with all; "ivf" and "hnsw" are approximate.
        backend: The search, in words for the user.
        run: Takes unit queries [B, D] and k, gives similarities [B, k] and rows [B, k].
    """

    size: int
    kind: Kind
    backend: str
    run: Search

    def search(
        self, queries: Float[Tensor, "batch dim"], k: int
    ) -> tuple[Float[Tensor, "batch k"], Int[Tensor, "batch k"]]:
        """Return the cosines and rows of the `k` nearest vectors, nearest first.

        Where an approximate index finds fewer than `k`, the rest are row -1.

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


def build_index(
    vectors: Float[Tensor, "n dim"], kind: Kind = "flat", device: torch.device | str = "cpu"
) -> Index:
    """Return an index over `vectors`, which are normalised inside.

    The exact search runs in torch; on the CPU with one thread in faiss, if that is installed, where
    it is the faster one.

    Args:
        vectors: On the CPU.
        kind: How it searches.
        device: Where the exact search runs, block by block; results come back to the CPU.

    Raises:
        UsageError: If an approximate index is asked for and faiss is not installed.
    """
    unit = functional.normalize(vectors, dim=1).contiguous()
    if kind == "flat":
        return _exact_index(unit, torch.device(device))
    try:
        import faiss  # noqa: PLC0415  (0.2 s, and its own OpenMP threads: only when used)
    except ImportError:
        raise UsageError(
            f"the {kind} index needs faiss, which is not installed",
            where="index",
            hint="pip install faiss-cpu, or use `index` flat",
        ) from None
    index = _faiss_index(faiss, unit, kind)
    return Index(len(unit), kind, f"faiss {kind}, approximate", _faiss_search(index))


def _exact_index(unit: Tensor, device: torch.device) -> Index:
    in_torch = _torch_search(unit, device)
    if device.type != "cpu" or torch.get_num_threads() > 1:
        return Index(len(unit), "flat", "torch, exact", in_torch)
    try:
        import faiss  # noqa: PLC0415  as above
    except ImportError:
        return Index(len(unit), "flat", "torch, exact (faiss is not installed)", in_torch)

    def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if len(queries) < _MANY:
            return in_torch(queries, k)
        kind = faiss.METRIC_INNER_PRODUCT
        similarity, rows = faiss.knn(queries.contiguous().numpy(), unit.numpy(), k, metric=kind)
        return torch.from_numpy(similarity), torch.from_numpy(rows)

    return Index(len(unit), "flat", "faiss, exact", search)


def recall(exact: Int[Tensor, "batch k"], found: Int[Tensor, "batch k"]) -> float:
    """Return the share of the exact neighbours that `found` holds, query by query."""
    hits = (exact[:, :, None] == found[:, None, :]).any(dim=2)  # [B, k]
    return hits.double().mean().item()


def _faiss_index(faiss: Any, unit: Tensor, kind: Kind) -> Any:
    count, dim = unit.shape
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    else:
        # faiss wants at least 39 vectors a cell to place its centroids.
        cells = max(1, min(round(math.sqrt(count)), count // 39))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(8, cells // 8)
        index.train(unit.numpy())
    index.add(unit.numpy())
    return index


def _faiss_search(index: Any) -> Search:
    def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if hasattr(index, "hnsw"):
            index.hnsw.efSearch = max(64, 2 * k)  # a beam narrower than k cannot hold k
        similarity, rows = index.search(queries.contiguous().numpy(), k)
        return torch.from_numpy(similarity), torch.from_numpy(rows)

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
