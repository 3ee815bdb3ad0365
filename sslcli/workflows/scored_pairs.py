"""Pairs of sentences with scores: which are asked about, and the vectors that answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslcli.config.data import DataConfig
from sslcli.data.sources.base import PART_CODES, Source, Subset, derived, need
from sslcli.data.sources.open import open_source
from sslcli.data.sources.sentences import Sentences
from sslcli.data.sources.sts import ScoredPairs
from sslcli.errors import DataError
from sslcli.evaluate.sts import similarities, spearman

_DEV = "stsb-dev"  # what SimCSE chooses its weights by


@dataclass(frozen=True)
class Asked:
    """Pairs that have a score, and the rows of each task's subsets.

    Attributes:
        source: The pairs.
        gold: Their scores, [N] float64.
        tasks: By task and subset the rows of `source`.
    """

    source: Source
    gold: Tensor
    tasks: Mapping[str, Mapping[str, Tensor]]


def asked_pairs(source: Source, name: str) -> Asked:
    """Return the pairs of a source to report on; those to train on only where there are no others.

    Args:
        source: What was opened.
        name: Of the one task of a source that has no tasks.

    Raises:
        DataError: If it has no pairs, or they have no scores.
    """
    rows = _scored_rows(source)
    if isinstance(source, ScoredPairs):
        is_test = np.array([not source.tasks[row][0].endswith("-train") for row in rows])
        rows = rows[is_test] if is_test.any() else rows
    source = Subset(source, rows, source.name)
    gold = torch.from_numpy(np.asarray(source.scores, dtype=np.float64))
    base = source.base
    if not isinstance(base, ScoredPairs):
        return Asked(source, gold, {name: {"": torch.arange(len(gold))}})
    places: dict[str, dict[str, list[int]]] = {}
    for place, row in enumerate(source.rows.tolist()):
        task, subset = base.tasks[row]
        places.setdefault(task, {}).setdefault(subset, []).append(place)
    tasks = {t: {s: torch.tensor(r) for s, r in parts.items()} for t, parts in places.items()}
    return Asked(source, gold, tasks)


def development_pairs(spec: str, data: DataConfig) -> Source:
    """Open the pairs that weights are chosen by in training, which no report may be about.

    Of an STS folder they are STS-B's development part, or else its other development parts; of
    data with parts, such as the built-in phrases, those to train on; else all there are.

    Args:
        spec: What `data` takes.
        data: Where sets are looked for.

    Raises:
        DataError: If there are none with a score.
    """
    source = open_source(spec, part=None, root=data.root, download=data.download, opened_for="text")
    rows = _scored_rows(source)
    if isinstance(source, ScoredPairs):
        tasks = np.array([source.tasks[row][0] for row in rows])
        of_dev = np.array([task.endswith("-dev") for task in tasks])
        chosen = tasks == _DEV if (tasks == _DEV).any() else of_dev
    elif source.parts is not None:
        chosen = np.asarray(source.parts)[rows] == PART_CODES["train"]
    else:
        chosen = np.ones(len(rows), dtype=bool)
    if not chosen.any():
        what = "none of these pairs is of a development part"
        hint = "name STS-B's sts-dev.csv, or a table with a score column"
        raise DataError(what, source.name, hint)
    return Subset(source, rows[chosen], f"development pairs of {source.name}")


def _scored_rows(source: Source) -> np.ndarray:
    """Return the rows of pairs that have a score."""
    need(source, "pair")
    if source.scores is None:
        hint = "give a table a score column, or name an STS folder"
        raise DataError("these pairs have no scores", source.name, hint)
    return np.flatnonzero(~np.isnan(source.scores))


def embedded(source: Source, features: Callable[[Source], Tensor]) -> tuple[Tensor, Tensor]:
    """Return the vectors of the distinct sentences, [S, D], and the two of each pair, [N, 2].

    Args:
        source: Pairs.
        features: Returns the vectors of sentences, [S, D].
    """
    numbers: dict[str, int] = {}
    pairs = [source.pair(row) for row in range(len(source))]
    places = [[numbers.setdefault(text, len(numbers)) for text in pair] for pair in pairs]
    texts = Sentences(source.name, list(numbers))
    texts.fingerprint = derived(source.fingerprint, b"distinct sentences")
    return features(texts), torch.tensor(places)


def correlation(source: Source, features: Callable[[Source], Tensor]) -> float:
    """Return Spearman of all pairs' cosines with their scores."""
    vectors, places = embedded(source, features)
    found = similarities(*(vectors[places[:, side]] for side in (0, 1)))
    return spearman(found, torch.from_numpy(np.asarray(source.scores, dtype=np.float64)))
