"""Find nearest neighbours by cosine, through faiss."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.errors import UsageError

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


def build_index(vectors: Float[Tensor, "n dim"], kind: Kind = "flat") -> Index:
    """Return an index over `vectors`, which are normalised inside.

    Without faiss the exact search runs in torch, and `Index.backend` says so.

    Raises:
        UsageError: If an approximate index is asked for and faiss is not installed.
    """
    unit = functional.normalize(vectors, dim=1).contiguous()
    try:
        import faiss  # noqa: PLC0415  (0.2 s, and its own OpenMP threads: only when used)
    except ImportError:
        if kind != "flat":
            raise UsageError(
                f"the {kind} index needs faiss, which is not installed",
                where="index",
                hint="pip install faiss-cpu, or use `index` flat",
            ) from None
        return Index(len(unit), kind, "torch, exact (faiss is not installed)", _torch_search(unit))
    index = _faiss_index(faiss, unit, kind)
    exactness = "exact" if kind == "flat" else "approximate"
    return Index(len(unit), kind, f"faiss {kind}, {exactness}", _faiss_search(index))


def recall(exact: Int[Tensor, "batch k"], found: Int[Tensor, "batch k"]) -> float:
    """Return the share of the exact neighbours that `found` holds, query by query."""
    hits = (exact[:, :, None] == found[:, None, :]).any(dim=2)  # [B, k]
    return hits.double().mean().item()


def _faiss_index(faiss: Any, unit: Tensor, kind: Kind) -> Any:
    count, dim = unit.shape
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
    elif kind == "hnsw":
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


def _torch_search(unit: Tensor) -> Search:
    block = max(1, 2**26 // len(unit))  # at most 256 MiB of similarities at a time

    def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        found = [(part @ unit.T).topk(k, dim=1) for part in queries.split(block)]
        return torch.cat([each.values for each in found]), torch.cat(
            [each.indices for each in found]
        )

    return search
