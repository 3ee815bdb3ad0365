"""Correlation of sentences' similarity with what people found (SentEval's STS tasks)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

TASKS = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr")  # of the papers' tables


@dataclass(frozen=True)
class TaskScore:
    """How well similarities follow the scores of one task.

    Attributes:
        n: Pairs with a score.
        spearman: Over all pairs of the task at once ("all").
        mean: Spearman of each subset, averaged; the same without subsets.
        wmean: The same, weighted by the subsets' pairs.
        pearson: Over all pairs.
    """

    n: int
    spearman: float
    mean: float
    wmean: float
    pearson: float


def spearman(scores: Float[Tensor, " n"], gold: Float[Tensor, " n"]) -> float:
    """Return the rank correlation, from -1 to 1; equal values share the mean of their ranks.

    0 where one side is constant, which has no order.

    Raises:
        ValueError: If there are fewer than two pairs.
    """
    return pearson(_ranks(scores), _ranks(gold))


def pearson(scores: Float[Tensor, " n"], gold: Float[Tensor, " n"]) -> float:
    """Return the linear correlation, from -1 to 1; 0 where one side is constant.

    Raises:
        ValueError: If there are fewer than two pairs.
    """
    if len(scores) < 2:
        raise ValueError(f"a correlation needs two pairs, got {len(scores)}")
    sides = (torch.as_tensor(side, dtype=torch.float64) for side in (scores, gold))
    a, b = (side - side.mean() for side in sides)
    norms = a.norm() * b.norm()
    return float(a @ b / norms) if norms > 0 else 0.0


def _ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the rank of each value, from 1 on; equal ones share their mean."""
    known = torch.as_tensor(values, dtype=torch.float64)
    _, places, counts = known.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(dim=0).double()  # rank of the last of each
    ranks: Tensor = (last - (counts - 1) / 2)[places]
    return ranks


def similarities(
    a: Float[Tensor, "pairs dim"], b: Float[Tensor, "pairs dim"]
) -> Float[Tensor, " pairs"]:
    """Return the cosine of each pair; 0 where a vector is zero."""
    return functional.cosine_similarity(a.double(), b.double(), dim=1).nan_to_num()


def scored(
    found: Float[Tensor, " n"], gold: Float[Tensor, " n"], subsets: Mapping[str, Int[Tensor, " k"]]
) -> TaskScore:
    """Return the correlations of one task.

    Args:
        found: Similarities of pairs.
        gold: Their scores; NaN where nobody was asked, which leaves the pair out.
        subsets: The rows of each subset; together they are the task.
    """
    judged = [rows[~gold[rows].isnan()] for rows in subsets.values()]
    whole = torch.cat(judged)
    each = torch.tensor([spearman(found[rows], gold[rows]) for rows in judged]).double()
    weights = torch.tensor([len(rows) for rows in judged]).double()
    return TaskScore(
        n=len(whole),
        spearman=spearman(found[whole], gold[whole]),
        mean=float(each.mean()),
        wmean=float((each * weights).sum() / weights.sum()),
        pearson=pearson(found[whole], gold[whole]),
    )


def average(tasks: Mapping[str, TaskScore], names: Sequence[str] = TASKS) -> float | None:
    """Return the plain mean of the tasks' Spearman; None unless all of them are there."""
    if not all(name in tasks for name in names):
        return None
    return sum(tasks[name].spearman for name in names) / len(names)


def word_overlap(a: str, b: str) -> float:
    """Return the share of words that two sentences have in common, of all that they have.

    Words are what stands between spaces, in small letters and without the signs at their ends.
    """
    first, second = (
        {word.strip(".,;:!?\"'()") for word in text.lower().split()} for text in (a, b)
    )
    return len(first & second) / max(1, len(first | second))
