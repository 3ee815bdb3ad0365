"""Find rows that are all but the same, and rows that are like no other, by nearest neighbours."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.nearest import build_index

NEAR = 10  # neighbours of each row that are looked at
BY_CHANCE = 1.0  # rows that the rule for pairs may bring up by chance
_FENCE = 2.2  # distances between the quartiles
_QUERIES = 4096  # a block of queries


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest other rows of every row.

    Attributes:
        rows: [N, k], the nearest first.
        cosines: [N, k].
    """

    rows: Int[Tensor, "n k"]
    cosines: Float[Tensor, "n k"]

    @property
    def distances(self) -> Tensor:
        """Lengths of the chords between unit vectors, [N, k]."""
        return (2 - 2 * self.cosines).clamp(min=0).sqrt()


@dataclass(frozen=True)
class Pairs:
    """Rows that are near duplicates of each other, the most alike first.

    Attributes:
        first: [P], the lower row of each.
        second: [P].
        cosines: [P].
        rule: What makes a pair, in one line.
    """

    first: Int[Tensor, " pairs"]
    second: Int[Tensor, " pairs"]
    cosines: Float[Tensor, " pairs"]
    rule: str


def neighbourhood(
    features: Float[Tensor, "n dim"], progress: Callable[[int, int], None] | None = None
) -> Neighbourhood:
    """Return the 10 nearest other rows of each, or all others of few; an exact search.

    Raises:
        UsageError: If there are fewer than three rows.
    """
    count = len(features)
    if count < 3:
        raise UsageError(f"{count} rows cannot be compared", "data", "give at least three")
    near, index = min(NEAR, count - 1), build_index(features)
    rows, cosines = [], []
    for start in range(0, count, _QUERIES):
        own = torch.arange(start, min(start + _QUERIES, count))
        values, found = index.search(features[own], near + 1)
        is_self = found == own[:, None]  # [B, k + 1]; not the first where copies are as near
        is_self[~is_self.any(dim=1), -1] = True
        rows.append(found[~is_self].view(len(own), near))
        cosines.append(values[~is_self].view(len(own), near))
        if progress:
            progress(start + len(own), count)
    return Neighbourhood(torch.cat(rows), torch.cat(cosines))


def near_duplicates(found: Neighbourhood, similarity: float | None = None) -> Pairs:
    """Return the pairs of neighbours that are far nearer than neighbours are elsewhere.

    A pair counts if its distance is at most the share t of the distance from one of the two to its
    farthest neighbour kept, the k-th. Of rows spread evenly in m dimensions a share t^m of the
    neighbours lies that near, so t = (E / (N (k - 1)))^(1 / m) brings up E = 1 row by chance. m is
    the median of Levina & Bickel's (2004) estimate over rows. Equal features always count.

    Args:
        found: Of each row.
        similarity: Instead of that rule, the cosine from which a pair counts.
    """
    distances = found.distances
    if similarity is not None:
        counts, rule = found.cosines >= similarity, f"a cosine of at least {similarity:g}"
    else:
        share, dimensions = _share(distances)
        counts = (distances <= share * distances[:, -1:]) | (distances <= _same(found))
        rule = f"at most {share:.3f} of the distance to the {distances.shape[1]}th neighbour, "
        rule += f"where {BY_CHANCE:g} row is expected by chance in {dimensions:.1f} dimensions"
    rows = torch.arange(len(counts))[:, None].expand_as(counts)[counts]
    pairs = torch.stack([rows, found.rows[counts]], dim=1).sort(dim=1).values  # [P, 2]
    pairs, order = pairs.unique(dim=0, return_inverse=True)
    cosines = torch.zeros(len(pairs)).index_copy_(0, order, found.cosines[counts])
    best = cosines.argsort(descending=True, stable=True)
    return Pairs(pairs[best, 0], pairs[best, 1], cosines[best], rule)


def outliers(found: Neighbourhood) -> tuple[Int[Tensor, " rows"], Float[Tensor, " n"], float]:
    """Return the rows far from all others, the farthest first, every row's distance, and the limit.

    The distance is that to the k-th neighbour (Ramaswamy et al. 2000); the limit is Tukey's fence,
    the upper quartile and 2.2 times the distance between the quartiles (Hoaglin & Iglewicz 1987,
    whose 2.2 leaves 95 % of Gaussian samples without a row outside).
    """
    far = found.distances[:, -1]
    low, high = far.double().quantile(torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    limit = high + _FENCE * (high - low)
    order = far.argsort(descending=True, stable=True)
    return order[far[order] > limit], far, limit


def _same(found: Neighbourhood) -> float:
    """Return the distance that float32's rounding alone can make of equal features."""
    return float((4 * torch.finfo(torch.float32).eps * 16) ** 0.5)


def _share(distances: Tensor) -> tuple[float, float]:
    """Return the share t of `near_duplicates`, and the dimensions m."""
    count, near = distances.shape
    logs = (distances[:, -1:] / distances.clamp(min=1e-6)).log()[:, :-1]  # [N, k - 1]
    dimensions = 1 / max(float(logs.mean(dim=1).median()), 1e-6)
    share = (BY_CHANCE / (count * max(near - 1, 1))) ** (1 / dimensions)
    return min(share, 0.5), dimensions
