"""Find the images or sentences nearest to some that are asked about, and draw them."""

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sslcli import assemble
from sslcli.config.section import Column
from sslcli.data.images.files import SUFFIXES
from sslcli.data.sources.base import NO_LABEL, Source, Subset, noun
from sslcli.data.sources.given import GivenImages, Images
from sslcli.data.sources.same_rows import own_rows
from sslcli.data.sources.sentences import Sentences
from sslcli.errors import UsageError
from sslcli.evaluate.nearest import build_index
from sslcli.figures.tiles import Tile, tile_rows
from sslcli.listener import QUIET, Listener
from sslcli.workflows.changes import Tower, laid_under, read_out
from sslcli.workflows.embed import images_of
from sslcli.workflows.neighbours_result import Neighbour, NeighboursResult, Query, same_class
from sslcli.workflows.pictures import Picture, figure_path, pictures
from sslcli.workflows.run import Run, load

DRAWN = 64  # queries of a figure
_LETTERS = 16  # of a line below a tile


def neighbours(
    run: str | Path | Run,
    *,
    query: Images | None = None,
    text: str | Sequence[str] = (),
    data: str | None = None,
    test: str | None = None,
    k: int = 10,
    count: int = 16,
    baseline: bool = False,
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
) -> NeighboursResult:
    """Find the rows whose features have the largest cosine with those of each query; exactly.

    Rows of the test part are asked about among the training part, or queries of one's own among
    all of the data, where a query that is one of the rows searched is no neighbour of itself.

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `data`, `test`, `method`, `overrides`, `seed`, `device`, `precision`, `data_root`,
            `download` and `listener`.
        query: Image files, PIL images, arrays, or data sets such as a folder, one or several; of an
            encoder of texts, text files or sentences. None draws rows of the test part.
        text: Sentences to find images by, of a method with a tower of images and one of texts.
        data: The data set, when not the checkpoint's.
        test: The data to draw queries from.
        k: Neighbours of each.
        count: Queries drawn by the seed, of the test part or of each data set in `query`, when it
            holds more.
        baseline: Also search by the untrained encoder and by raw pixels.
        out: The PNG to write; None for figures/neighbours.png in the run. Sentences have none.
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
    if text and baseline:
        what = "a sentence has no untrained tower to be compared with"
        raise UsageError(what, "baseline", "leave it out, or ask by `query`")
    opened = load(
        run, data=data, test=test, data_root=data_root, download=download, seed=seed,
        overrides=laid_under({"evaluation.features": searched_by(text, query, tower)}, overrides),
        device=device, precision=precision, method=method, listener=listener,
    )  # fmt: skip
    reads = opened.reads
    path = _figure(opened, out, reads)
    asked, searched = parts(opened, query, count, text)
    search = _Search(opened, asked, searched, k, "text" if text else reads)
    found = {"queries": search()}
    if baseline:
        found["untrained"] = search(opened.untrained)
        found["pixels"] = search(nn.Flatten()) if reads == "image" else ()
    result = NeighboursResult(
        searched.name, search.n, **found, protocol=search.protocol, path=path,
        unreadable=opened.unreadable,
    )  # fmt: skip
    if path:
        search.draw(result, path)
    return result


def searched_by(text: str | Sequence[str], query: Images | None, tower: Tower | None) -> str | None:
    """Return what is read out of the network: by a sentence, the tower of images.

    Raises:
        UsageError: If a sentence is given beside something else.
    """
    for name, given in (("query", query is not None), ("tower", tower is not None)):
        if text and given:
            raise UsageError("a sentence is asked about by itself", name, "leave out one of them")
    return read_out(None, "image" if text else tower)


def parts(
    run: Run, query: Images | None, count: int, text: str | Sequence[str] = ()
) -> tuple[list[Source], Source]:
    """Return the sources to ask about, and the one to search."""
    if text:
        sentences = [text] if isinstance(text, str) else list(text)
        return [Sentences("the sentences given", sentences)], images_of(run, "all", None)
    if query is None:
        run.splits.need_held_out()
        return [drawn_rows(run.splits.test, count, run.config.seed)], run.splits.train
    asked = [
        source if isinstance(source, GivenImages) else drawn_rows(source, count, run.config.seed)
        for source in _sources(query, run)
    ]
    return asked, images_of(run, "all", None)


def drawn_rows(source: Source, count: int, seed: int) -> Source:
    """Return a source, or as many of its rows as asked for, drawn by a seed, in their order."""
    if len(source) <= count:
        return source
    rows = np.random.default_rng(seed).permutation(len(source))[:count]
    return Subset(source, np.sort(rows), f"{count} of {source.name}")


def _sources(query: Images, run: Run) -> Iterator[Source]:
    """Open what is asked about; images at hand that follow each other are one source."""
    data, reads = run.config.data, run.reads
    listed: list[Any] = [*query] if isinstance(query, list | tuple) else [query]
    if not listed:
        raise UsageError("nothing is asked about", "query", "name an image or a data set")
    for is_image, group in groupby(listed, _is_image):
        if is_image:
            yield _readable(GivenImages(list(group), data.white_point))
            continue
        for each in map(os.fspath, group):
            if reads == "text" and not Path(each).exists() and "/" not in each:
                yield Sentences("the sentence given", [each])
            else:
                yield run.open(each)


def _readable(images: GivenImages) -> GivenImages:
    """Raise DataError at the first image that cannot be read: all were named one by one."""
    for row in range(len(images)):
        images.load(row)
    return images


def _is_image(query: object) -> bool:
    """Say whether a query is one image and no data set; a missing file counts as it is named."""
    if not isinstance(query, str | os.PathLike):
        return True
    return Path(query).suffix.lower() in SUFFIXES and not Path(query).is_dir()


def _figure(run: Run, out: str | Path | None, reads: Column) -> Path | None:
    """Return the path of the figure; None for sentences, which are only listed."""
    if reads != "image":
        if out:
            what = f"{run.config.encoder.name} reads no images that could be drawn"
            raise UsageError(what, "out", "leave it out; the sentences are listed")
        return None
    return figure_path(run, out, "neighbours")


class _Search:
    """Finds the neighbours of all queries by one network after the other."""

    def __init__(
        self, run: Run, asked: Sequence[Source], searched: Source, k: int, reads: Column
    ) -> None:
        self.run, self.asked, self.searched, self.k, self.reads = run, asked, searched, k, reads
        self.protocol, self.n = "", 0
        self.rows: list[np.ndarray] = []  # of each source asked about, those that were read

    def __call__(self, network: nn.Module | None = None) -> tuple[Query, ...]:
        """Return the queries with their neighbours by a network; None stands for the encoder."""
        run = self.run
        precision = "fp32" if isinstance(network, nn.Flatten) else run.precision
        bank = run.features(self.searched, network, precision)
        asking = network or run.encoder
        if self.reads != run.reads:  # sentences among images
            asking = run.tower(self.reads)
        index, found = build_index(bank.features), []
        self.n = index.size
        self.protocol = f"the {self.k} largest cosines among {index.size}, {index.backend}"
        self.rows = []
        for source in self.asked:
            features = assemble.features_of(
                asking, source, run.config, run.device, precision, reads=self.reads
            )
            run.leave_out(source, features.rows)
            self.rows.append(features.rows.numpy())
            rows, own = features.rows, own_rows(source, self.searched)
            _, near = index.search(features.features, self.k)  # refuses a k that is too large
            reach = max(self.k, min(self.k + int((own >= 0).any()), index.size))
            similarity, near = index.search(features.features, reach)
            found.append(self._named(source, rows, similarity, bank.rows[near], own[rows.numpy()]))
        return tuple(chain.from_iterable(found))

    def _named(
        self,
        source: Source,
        rows: torch.Tensor,
        similarity: torch.Tensor,
        near: torch.Tensor,
        own: np.ndarray,
    ) -> Iterator[Query]:
        """Yield the queries with their k nearest rows, themselves left out."""
        for row, values, others, itself in zip(
            rows.tolist(), similarity.tolist(), near.tolist(), own.tolist(), strict=True
        ):
            nearest = [
                Neighbour(other, *_about(self.searched, other, self.run.reads), value)
                for other, value in zip(others, values, strict=True)
                if other != itself
            ]
            yield Query(*_about(source, row, self.reads), tuple(nearest[: self.k]))

    def draw(self, result: NeighboursResult, path: Path) -> None:
        """Draw a row a query and network, the query first."""
        columns, by = list(zip(*result.by().values(), strict=True))[:DRAWN], list(result.by())
        if len(result.queries) > DRAWN:
            self.run.listener.note(f"the first {DRAWN} of {len(result.queries)} queries are drawn")
        asked = self._asked_pictures()[:DRAWN]
        rows = [n.row for queries in columns for query in queries for n in query.neighbours]
        near = pictures(self.run, self.searched, np.array(rows))
        drawn, heads = [], []
        for picture, queries in zip(asked, columns, strict=True):
            for name, query in zip(by, queries, strict=True):
                drawn.append([Tile(picture, _lines(query)), *_tiles(query, near)])
                heads.append(name if len(by) > 1 else "")
        title = f"left: the query; then its nearest {noun(self.searched)} of {self.searched.name}"
        if same_class(result.queries) is not None:
            title += ", blue of its class, red of another"
        tile_rows(drawn, path, heads=heads, title=title)
        self.run.listener.note(f"{len(columns)} queries: {path}")

    def _asked_pictures(self) -> list[Picture]:
        found = []
        for source, rows in zip(self.asked, self.rows, strict=True):
            if "image" not in source.columns:  # a sentence has its words below an empty tile
                found += [np.full((8, 8, 3), 245, dtype=np.uint8)] * len(rows)
                continue
            shown = pictures(self.run, source, rows)
            found += [shown[row] for row in rows.tolist()]
        return found


def _tiles(query: Query, near: Mapping[int, Picture]) -> Iterator[Tile]:
    for each in query.neighbours:
        agrees = each.label == query.label if query.label and each.label else None
        yield Tile(near[each.row], (f"{each.similarity:.3f}", *_lines(each)), agrees)


def _about(source: Source, row: int, reads: Column) -> tuple[str, str | None]:
    """Return where a row comes from, or its text, and the name of its class."""
    item = source.text(row) if reads == "text" else source.describe(row)
    label = NO_LABEL if source.labels is None else int(source.labels[row])
    return item, None if label == NO_LABEL else source.class_names[label]


def _lines(item: Query | Neighbour) -> tuple[str, ...]:
    if " " in item.item and not item.label and not Path(item.item).suffix:  # a sentence
        return tuple(textwrap.wrap(item.item, _LETTERS, max_lines=2, placeholder="..."))
    return (item.label or Path(item.item).name,)
