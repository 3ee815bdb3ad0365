"""Find near duplicates, leaks from training to test data, and outliers, by a network's features."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslcli.config.families import family_of
from sslcli.data.sources.base import NO_LABEL, PART_CODES, Source
from sslcli.data.sources.open import open_source
from sslcli.errors import DataError, UsageError
from sslcli.evaluate.alike import Pairs, near_duplicates, neighbourhood, outliers
from sslcli.figures.tiles import Tile, tile_rows
from sslcli.workflows.embed import images_of
from sslcli.workflows.pictures import pictures
from sslcli.workflows.run import Run

DRAWN, A_ROW = 20, 8  # pairs and outliers that are drawn; outliers in a row


@dataclass(frozen=True)
class Alike:
    """Two rows that are all but the same.

    Attributes:
        first: Where one comes from, or the sentence itself.
        second: Where the other comes from.
        similarity: Cosine of their features.
        exact: Whether they are the same, pixel by pixel or letter by letter.
        leak: Whether one is training data and the other test data.
        conflict: Whether they have different classes.
    """

    first: str
    second: str
    similarity: float
    exact: bool
    leak: bool
    conflict: bool


@dataclass(frozen=True)
class Outlier:
    """A row that is like no other.

    Attributes:
        item: Where it comes from, or the sentence itself.
        distance: To its 10th nearest row, between unit features: 0 to 2.
    """

    item: str
    distance: float


@dataclass(frozen=True)
class LookAlikes:
    """What a network sees in a data set.

    Attributes:
        checkpoint: The network.
        n: Rows that were compared.
        pairs: Near duplicates, the most alike first.
        outliers: The farthest first.
        pair_rule: What makes a pair.
        outlier_rule: What makes an outlier.
        path: The figure, if one was drawn.
    """

    checkpoint: str
    n: int
    pairs: tuple[Alike, ...]
    outliers: tuple[Outlier, ...]
    pair_rule: str
    outlier_rule: str
    path: str | None = None

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        exact = sum(pair.exact for pair in self.pairs)
        return {
            "exact duplicates": exact,
            "near duplicates": len(self.pairs) - exact,
            "train/test leaks": sum(pair.leak for pair in self.pairs),
            "pairs of different classes": sum(pair.conflict for pair in self.pairs),
            "outliers": len(self.outliers),
        }


def look_alikes(
    run: Run,
    *,
    test: str | None = None,
    similarity: float | None = None,
    out: str | Path | None = None,
) -> LookAlikes:
    """Compare every row of a run's data with all others by features in float32.

    Args:
        run: A network, opened on the data to compare.
        test: Further data, all of which counts as test data.
        similarity: The cosine from which a pair counts; None for a rule that the data decides; see
            `evaluate.alike.near_duplicates`.
        out: A PNG of the first pairs and outliers; None draws none.

    Raises:
        SslError: If something is missing or does not fit, or the file is to be no PNG.
    """
    check_figure(run, out)
    rows = _Rows(run, test)
    found = neighbourhood(rows.features, run.listener.bar("comparing"))
    pairs, (far, distances, limit) = near_duplicates(found, similarity), outliers(found)
    if out:
        rows.draw(pairs, far, Path(out))
    return LookAlikes(
        checkpoint=str(run.checkpoint.path),
        n=len(rows.features),
        pairs=tuple(rows.alike(pairs)),
        outliers=tuple(Outlier(rows.item(row), float(distances[row])) for row in far.tolist()),
        pair_rule=pairs.rule,
        outlier_rule=f"a distance above {limit:.3f} to the {found.rows.shape[1]}th neighbour, "
        "the upper quartile and 2.2 times the distance between the quartiles",
        path=str(out) if out else None,
    )


def check_figure(run: Run, out: str | Path | None) -> None:
    """Raise UsageError when a figure is to be no PNG, or the data holds no images."""
    reads = family_of(run.config.encoder).reads
    if out and (reads != "image" or Path(out).suffix.lower() != ".png"):
        what = f"{out} is no PNG" if reads == "image" else "sentences are not drawn"
        raise UsageError(what, "out", "end it in .png, or leave it out")


class _Rows:
    """The rows that could be read of one data set or two, numbered through."""

    def __init__(self, run: Run, test: str | None) -> None:
        self.run, data = run, run.config.data
        self.reads = family_of(run.config.encoder).reads
        self.sources: list[Source] = [images_of(run, "all", None)]
        if test:
            more = open_source(
                test, part=None, root=data.root, download=data.download,
                white_point=data.white_point,
            )  # fmt: skip
            self.sources.append(more)
        found = [run.features(source, precision="fp32") for source in self.sources]
        self.features = torch.cat([each.features for each in found])
        self.rows = [each.rows.numpy() for each in found]
        self._starts = np.cumsum([0, *map(len, self.rows)])

    def place(self, number: int) -> tuple[int, int]:
        """Return the data set that a row lies in, and its number there."""
        which = int(np.searchsorted(self._starts, number, side="right")) - 1
        return which, int(self.rows[which][number - self._starts[which]])

    def item(self, number: int) -> str:
        """Return where a row comes from, or its text."""
        which, row = self.place(number)
        source = self.sources[which]
        return source.text(row) if self.reads == "text" else source.describe(row)

    def alike(self, pairs: Pairs) -> Iterator[Alike]:
        """Yield what there is to say of each pair."""
        triples = zip(
            pairs.first.tolist(), pairs.second.tolist(), pairs.cosines.tolist(), strict=True
        )
        for first, second, cosine in triples:
            (_, a), (_, b) = (self._kind(number) for number in (first, second))
            parts = {self._kind(number)[0] for number in (first, second)}
            yield Alike(
                self.item(first),
                self.item(second),
                cosine,
                exact=self._same(first, second),
                leak=parts == {"train", "test"},
                conflict=None not in (a, b) and a != b,
            )

    def _kind(self, number: int) -> tuple[str, str | None]:
        """Return the part of a row, and the name of its class."""
        which, row = self.place(number)
        source = self.sources[which]
        label = NO_LABEL if source.labels is None else int(source.labels[row])
        name = None if label == NO_LABEL else source.class_names[label]
        if which:
            return "test", name
        if source.parts is None:  # all is training data where other data is for the test
            return "train", name
        named = {code: part for part, code in PART_CODES.items()}
        return named.get(int(source.parts[row]), "neither"), name

    def _same(self, *numbers: int) -> bool:
        """Say whether two rows are the same, pixel by pixel or letter by letter."""
        try:
            a, b = (self._content(*self.place(number)) for number in numbers)
        except DataError:  # gone since
            return False
        return np.array_equal(a, b)

    def _content(self, which: int, row: int) -> np.ndarray:
        source = self.sources[which]
        return np.array(source.text(row)) if self.reads == "text" else source.load(row)

    def draw(self, pairs: Pairs, far: Tensor, path: Path) -> None:
        """Draw the first pairs, a row each, then the farthest rows."""
        shown = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))[:DRAWN]
        lone = far[:DRAWN].tolist()
        images = self._pictures({*(each for pair in shown for each in pair), *lone})
        rows, heads = [], []
        for pair, cosine in zip(shown, pairs.cosines.tolist(), strict=False):
            lines = (
                (Path(self.item(pair[0])).name,),
                (f"{cosine:.4f}", Path(self.item(pair[1])).name),
            )
            rows.append([Tile(images[n], each) for n, each in zip(pair, lines, strict=True)])
            heads.append("pair")
        for first in range(0, len(lone), A_ROW):
            part = lone[first : first + A_ROW]
            rows.append([Tile(images[n], (Path(self.item(n)).name,)) for n in part])
            heads.append("outliers")
        if rows:
            tile_rows(rows, path, heads=heads, title="look-alikes and outliers")

    def _pictures(self, numbers: Iterable[int]) -> dict[int, np.ndarray]:
        places = {number: self.place(number) for number in numbers}
        found: dict[tuple[int, int], np.ndarray] = {}
        for which, source in enumerate(self.sources):
            own = np.array([row for its, row in places.values() if its == which], dtype=np.int64)
            if len(own):
                shown = pictures(self.run, source, own)
                found |= {(which, row): image for row, image in shown.items()}
        return {number: found[place] for number, place in places.items()}
