"""Neighbours by query: numbers and names, for tables, figures and other programs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sslcli.workflows.unreadable import Unreadable


@dataclass(frozen=True)
class Neighbour:
    """One of the nearest rows.

    Attributes:
        row: Its number in the data that was searched.
        item: Where it comes from, or the sentence itself.
        label: Name of its class; None without one.
        similarity: Cosine of its features and the query's.
    """

    row: int
    item: str
    label: str | None
    similarity: float


@dataclass(frozen=True)
class Query:
    """What was asked about, with its neighbours, the nearest first.

    Attributes:
        item: Where it comes from, or the sentence itself.
        label: Name of its class; None without one.
        neighbours: The k nearest.
    """

    item: str
    label: str | None
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class NeighboursResult:
    """The neighbours of every query, by the encoder and by the baselines that were asked for.

    Attributes:
        searched: Name of the data that neighbours come from.
        n: Number of its rows that were searched.
        queries: By the encoder.
        untrained: By the encoder with fresh weights.
        pixels: By the normalised pixels.
        protocol: How they were found, in one line.
        path: The figure; None for sentences.
        unreadable: By data set, the images that were left out.
    """

    searched: str
    n: int
    queries: tuple[Query, ...]
    untrained: tuple[Query, ...] = ()
    pixels: tuple[Query, ...] = ()
    protocol: str = ""
    path: Path | None = None
    unreadable: dict[str, Unreadable] = field(default_factory=dict)

    def by(self) -> dict[str, tuple[Query, ...]]:
        """Return the queries by what their neighbours were found by."""
        found = {"encoder": self.queries, "untrained": self.untrained, "pixels": self.pixels}
        return {name: queries for name, queries in found.items() if queries}

    def metrics(self) -> dict[str, float | None]:
        """Return the share of neighbours of their query's class; None where there are no classes.

        Only queries and neighbours with a class count.
        """
        named = {"encoder": "", "untrained": "_untrained", "pixels": "_pixels"}
        return {f"same_class{named[by]}": same_class(each) for by, each in self.by().items()}


def same_class(queries: Iterable[Query]) -> float | None:
    """Return the share of neighbours of their query's class; None without classes."""
    pairs = [(q.label, n.label) for q in queries for n in q.neighbours if q.label and n.label]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None
