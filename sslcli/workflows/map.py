"""Draw the embeddings of a data set as a map of points, and keep their coordinates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslcli.data.sources.base import Source, Subset, noun
from sslcli.evaluate.projection import (
    NAMES,
    Projection,
    agreement,
    cluster,
    need_package,
    project,
    trustworthiness,
)
from sslcli.figures.map import embedding_map
from sslcli.files import write_atomically
from sslcli.listener import QUIET, Listener
from sslcli.workflows.changes import Tower, laid_under, read_out
from sslcli.workflows.embed import Part, images_of
from sslcli.workflows.pictures import figure_path
from sslcli.workflows.run import Run, load
from sslcli.workflows.unreadable import Unreadable


@dataclass(frozen=True)
class MapResult:
    """The points of a map, and how far to trust it.

    Attributes:
        data: Name of the data set.
        coordinates: [N, 2] float32.
        rows: Row of each point in the data set, [N] int64.
        files: Where each comes from, [N] text.
        labels: Class of each, [N] int64, -1 where it has none; None when no row has one.
        class_names: Name of each class; None when no row has one.
        clusters: k-means cluster of each, [N] int64; None when none was asked for.
        trustworthiness: Share of the map's neighbours that are the features', discounted by rank
            (Venna & Kaski 2001); 1 when all are.
        nmi: Normalised mutual information of clusters and classes; None without both.
        protocol: How the map was made, in one line.
        path: The figure.
        kept: The .npz file of the arrays above.
        unreadable: By data set, the images that were left out.
    """

    data: str
    coordinates: np.ndarray
    rows: np.ndarray
    files: np.ndarray
    labels: np.ndarray | None
    class_names: np.ndarray | None
    clusters: np.ndarray | None
    trustworthiness: float
    nmi: float | None
    protocol: str
    path: Path
    kept: Path
    unreadable: dict[str, Unreadable] = field(default_factory=dict)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array that is not None by its name, as the .npz file holds them."""
        names = ("coordinates", "rows", "labels", "class_names", "clusters", "files")
        found = {name: getattr(self, name) for name in names}
        return {name: array for name, array in found.items() if array is not None}

    def metrics(self) -> dict[str, float | int | None]:
        """Return the numbers by name."""
        return {"trustworthiness": self.trustworthiness, "nmi": self.nmi, "n": len(self.rows)}


def map(
    run: str | Path | Run,
    *,
    data: str | None = None,
    part: Part = "all",
    by: Projection = "tsne",
    clusters: int | None = None,
    count: int = 5_000,
    out: str | Path | None = None,
    tower: Tower | None = None,
    method: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    listener: Listener = QUIET,
) -> MapResult:
    """Draw the embeddings of a data set in two dimensions, coloured by class or by cluster.

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `data`, `method`, `overrides`, `seed`, `device`, `precision`, `data_root`, `download`
            and `listener`.
        data: The data set, when not the checkpoint's.
        part: Which part, when the data has parts.
        by: "pca", "tsne", or "umap", which needs the extra of this name.
        clusters: Colour by so many k-means clusters instead of classes.
        count: Rows at most, taken evenly from all there are.
        out: The PNG to write, and beside it the coordinates as an .npz of the same name; None for
            figures/map.png in the run.
        tower: The tower that is evaluated, of a method with one of images and one of texts, with
            its projection; None for the encoder.
        method: The class of a checkpoint whose method is a user's own.
        overrides: Changes of the config.
        seed: Instead of the checkpoint's.
        device: Where to run.
        precision: Instead of the checkpoint's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing or does not fit, or the file is to be no PNG.
    """
    need_package(by)
    opened = load(
        run, data=data, data_root=data_root, download=download, seed=seed,
        overrides=laid_under({"evaluation.features": read_out(None, tower)}, overrides),
        device=device, precision=precision, method=method, listener=listener,
    )  # fmt: skip
    path = figure_path(opened, out, "map")
    source = rows_of(opened, part, count)
    result = _mapped(opened, source, by, clusters, path)
    _draw(result, path)
    write_atomically(result.kept, lambda temporary: _save(temporary, result))
    opened.listener.note(f"{len(result.rows):,} points: {path}, coordinates: {result.kept}")
    return result


def rows_of(run: Run, part: Part, count: int) -> Source:
    """Open the data to map: all rows, or `count` taken evenly."""
    source = images_of(run, part, None)
    total = len(source)
    if total <= count:
        return source
    run.listener.note(f"{count:,} of its {total:,} {noun(source)} are taken evenly, by `count`")
    return Subset(source, np.arange(count) * total // count, f"{count} of {source.name}")


def _mapped(
    run: Run, source: Source, by: Projection, clusters: int | None, path: Path
) -> MapResult:
    found, seed = run.features(source), run.config.seed
    features, rows = found.features, found.rows.numpy()
    labels = None if source.labels is None else source.labels[rows]
    grouped = None if clusters is None else cluster(features, clusters, seed)
    run.listener.note(f"{NAMES[by]} of {len(rows):,} features of {features.shape[1]} numbers")
    coordinates = project(features, by, seed)
    base = source.rows if isinstance(source, Subset) else np.arange(len(source))
    return MapResult(
        data=source.name,
        coordinates=coordinates.numpy(),
        rows=base[rows],
        files=np.array([source.describe(row) for row in rows.tolist()]),
        labels=labels,
        class_names=None if labels is None else np.array(source.class_names),
        clusters=None if grouped is None else grouped.numpy(),
        trustworthiness=trustworthiness(features, coordinates),
        nmi=_nmi(grouped, labels),
        protocol=f"{NAMES[by]} of {len(rows)} unit features, seed {seed}",
        path=path,
        kept=path.with_suffix(".npz"),
        unreadable=run.unreadable,
    )


def _nmi(clusters: Tensor | None, labels: np.ndarray | None) -> float | None:
    """Return how far clusters are the classes, on the rows that have one."""
    if clusters is None or labels is None:
        return None
    has_class = labels >= 0
    return agreement(clusters[has_class], torch.from_numpy(labels[has_class]))


def _draw(result: MapResult, path: Path) -> None:
    groups, names, coloured = result.labels, result.class_names, ", coloured by class"
    if result.clusters is not None:
        groups, coloured = result.clusters, ", coloured by cluster"
        names = np.array([f"cluster {each}" for each in range(int(groups.max()) + 1)])
    title = f"{result.data}: {result.protocol}{'' if groups is None else coloured}; "
    title += f"trustworthiness {result.trustworthiness:.3f}"
    embedding_map(
        torch.from_numpy(result.coordinates),
        None if groups is None else torch.from_numpy(groups),
        () if names is None else names.tolist(),
        path,
        title=title,
    )


def _save(path: Path, result: MapResult) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **result.arrays())
