"""Bring features down to two dimensions for the eye, and group them by k-means."""

import warnings
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.errors import UsageError

Projection = Literal["pca", "tsne", "umap"]
NAMES: dict[Projection, str] = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
LEAST = 5  # rows below which a map shows nothing
_PERPLEXITY, _PRINCIPAL = 30, 50
_NEAR, _JUDGED = 10, 2_000  # neighbours, and rows, by which a map is judged


def project(
    features: Float[Tensor, "n dim"], by: Projection = "tsne", seed: int = 0
) -> Float[Tensor, "n 2"]:
    """Return two coordinates of each row; neighbours by cosine should stay neighbours.

    Rows are brought to unit length. PCA shows their two widest directions. t-SNE (van der Maaten &
    Hinton 2008) starts from PCA, works on the 50 widest directions, and has perplexity 30. UMAP
    (McInnes et al. 2018, arXiv:1802.03426) has 15 neighbours. Fewer rows lower both numbers.

    Args:
        features: Rows, at least `LEAST`.
        by: The way down.
        seed: Decides all that is random.

    Raises:
        UsageError: If there are too few rows, or umap-learn is not installed.
    """
    if len(features) < LEAST:
        raise UsageError(f"{len(features)} rows make no map", "data", f"give at least {LEAST}")
    unit = functional.normalize(features.float(), dim=1).numpy()
    found = {"pca": _pca, "tsne": _tsne, "umap": _umap}[by](unit, seed)
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))


def need_package(by: Projection) -> None:
    """Raise UsageError when a projection needs a package that is not installed."""
    if by == "umap":
        _umap_module()


def cluster(features: Float[Tensor, "n dim"], count: int, seed: int = 0) -> Int[Tensor, " n"]:
    """Return the k-means cluster of each row's unit vector, the largest cluster first.

    The best of ten starts (k-means++).

    Raises:
        UsageError: If there are no `count` rows.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415  (0.5 s: only when used)

    if not 1 <= count <= len(features):
        hint = f"choose 1 to {len(features)}"
        raise UsageError(f"{len(features)} rows make no {count} clusters", "clusters", hint)
    unit = functional.normalize(features.float(), dim=1).numpy()
    found = KMeans(count, n_init=10, random_state=seed).fit_predict(unit)
    order = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    return torch.from_numpy(np.argsort(order)[found].astype(np.int64))


def trustworthiness(features: Float[Tensor, "n dim"], coordinates: Float[Tensor, "n 2"]) -> float:
    """Return how far neighbours on the map are neighbours by cosine (Venna & Kaski 2001): 0 to 1.

    By the 10 nearest, or fewer of few rows, among 2,000 rows taken evenly.
    """
    from sklearn.manifold import trustworthiness as trust  # noqa: PLC0415  as above

    step = -(-len(features) // _JUDGED)
    unit = functional.normalize(features.float(), dim=1)[::step].numpy()
    near = min(_NEAR, (len(unit) - 1) // 2)
    return float(trust(unit, coordinates[::step].numpy(), n_neighbors=near))


def agreement(clusters: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> float:
    """Return the normalised mutual information of clusters and classes: 0 to 1."""
    from sklearn.metrics import normalized_mutual_info_score  # noqa: PLC0415  as above

    return float(normalized_mutual_info_score(labels.numpy(), clusters.numpy()))


def _pca(unit: np.ndarray, seed: int, dimensions: int = 2) -> np.ndarray:
    from sklearn.decomposition import PCA  # noqa: PLC0415  as above

    found: np.ndarray = PCA(dimensions, svd_solver="full").fit_transform(unit)
    return found


def _tsne(unit: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE  # noqa: PLC0415  as above

    inside = _pca(unit, seed, min(_PRINCIPAL, *unit.shape))
    perplexity = min(_PERPLEXITY, (len(unit) - 1) / 3)
    found: np.ndarray = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        inside
    )
    return found


def _umap(unit: np.ndarray, seed: int) -> np.ndarray:
    umap = _umap_module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its choice of threads and of start
        mapper = umap.UMAP(
            n_neighbors=min(15, len(unit) - 1), metric="cosine", random_state=seed, n_jobs=1
        )
        found: np.ndarray = mapper.fit_transform(unit)
    return found


def _umap_module():  # type: ignore[no-untyped-def]  # the extra may be missing
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TensorFlow is not installed
            import umap  # noqa: PLC0415  (5 s, and an extra)
    except ImportError as error:
        hint = "pip install 'sslcli[umap]', or use `by` tsne"
        raise UsageError("UMAP needs umap-learn, which is not installed", "by", hint) from error
    return umap
