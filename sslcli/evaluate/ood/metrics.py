"""Metrics of detection: AUROC, average precision and FPR at 95 % of the other side.

Scores rise towards the inside. Samples of one score are one threshold, so ties count one half in
the AUROC and are never split in favour of either side.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sslcli.errors import CheckpointError, DataError

Array = NDArray[np.float64]
METRICS = ("auroc", "aupr_in", "aupr_out", "fpr95_in", "fpr95_out")
_RECALL = 0.95


def auroc(inside: Float[Tensor, " n"], outside: Float[Tensor, " m"]) -> float:
    """Return the chance that an inside sample scores above an outside one; ties count 1/2.

    The same whichever side is called positive.

    Args:
        inside: Scores of the model's own data.
        outside: Scores of other data.

    Raises:
        DataError: If a set is empty.
        CheckpointError: If a score is NaN.
    """
    return rank(inside, outside)["auroc"]


def aupr_in(inside: Float[Tensor, " n"], outside: Float[Tensor, " m"]) -> float:
    """Return the average precision of finding the inside by high scores.

    A sum over thresholds of precision times gained recall, not the trapezoid under the curve, which
    is too optimistic. It depends on the ratio of the sets' sizes: compare it only at the same
    ratio.
    """
    return rank(inside, outside)["aupr_in"]


def aupr_out(inside: Float[Tensor, " n"], outside: Float[Tensor, " m"]) -> float:
    """Return the average precision of finding the outside by low scores; see `aupr_in`."""
    return rank(inside, outside)["aupr_out"]


def fpr_at_95(
    inside: Float[Tensor, " n"], outside: Float[Tensor, " m"], positive: str = "inside"
) -> float:
    """Return the share of one side that passes a threshold which 95 % of the other side pass.

    The threshold is the strictest one that at least 95 % of the positive side pass. The two
    conventions differ on the same scores, and both are in use.

    Args:
        inside: Scores of the model's own data.
        outside: Scores of other data.
        positive: "inside" gives the share of the outside accepted when 95 % of the inside are;
            "outside" gives the share of the inside rejected when 95 % of the outside are.
    """
    if positive not in ("inside", "outside"):
        raise ValueError(f"positive is 'inside' or 'outside', not {positive!r}")
    return rank(inside, outside)["fpr95_in" if positive == "inside" else "fpr95_out"]


def rank(inside: Float[Tensor, " n"], outside: Float[Tensor, " m"]) -> dict[str, float]:
    """Return every one of `METRICS` of two sets of scores."""
    measured = summarise(*Ranking(inside, outside).accepted())
    return {name: float(values[0]) for name, values in measured.items()}


class Ranking:
    """Two sets of scores pooled and sorted, highest first, equal ones in one group.

    Args:
        inside: Scores of the model's own data.
        outside: Scores of other data.

    Attributes:
        sizes: Number of samples inside and outside.
    """

    def __init__(self, inside: Float[Tensor, " n"], outside: Float[Tensor, " m"]) -> None:
        first, second = _checked("inside", inside), _checked("outside", outside)
        self.sizes = (len(first), len(second))
        pooled = np.concatenate([first, second])
        self._order = np.argsort(-pooled, kind="stable")
        ranked = pooled[self._order]
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self._is_inside = self._order < len(first)

    def accepted(self, weights: NDArray[np.uint8] | None = None) -> tuple[Array, Array]:
        """Return how many samples score at least each threshold, strictest first.

        Args:
            weights: How often each sample counts, inside before outside, [B, n + m]; once when
                None.

        Returns:
            Counts of the inside and of the outside, both [B, thresholds].
        """
        if weights is None:
            weights = np.ones((1, sum(self.sizes)), dtype=np.uint8)
        ranked = weights[:, self._order]
        counts = (np.where(side, ranked, 0) for side in (self._is_inside, ~self._is_inside))
        first, second = (each.cumsum(axis=1, dtype=np.float64)[:, self._ends] for each in counts)
        return first, second


def summarise(inside: Array, outside: Array) -> dict[str, Array]:
    """Return every one of `METRICS`, [B] each, of accepted counts, [B, thresholds] each."""
    own, other = inside[:, -1:], outside[:, -1:]
    gained, leaked = (np.diff(counts, axis=1, prepend=0.0) for counts in (inside, outside))
    # The samples that score at most each threshold: what rejecting there catches.
    caught, lost = other - outside + leaked, own - inside + gained
    return {
        "auroc": (leaked * (inside - gained / 2)).sum(axis=1) / (own * other)[:, 0],
        "aupr_in": _average_precision(gained, inside, outside, own),
        "aupr_out": _average_precision(leaked, caught, lost, other),
        "fpr95_in": _at_recall(inside, outside, own, other),
        "fpr95_out": _at_recall(caught[:, ::-1], lost[:, ::-1], other, own),
    }


def _average_precision(gained: Array, hits: Array, misses: Array, total: Array) -> Array:
    """Sum precision times gained recall; thresholds that nothing passes gain nothing."""
    precision = hits / np.maximum(hits + misses, 1)
    means: Array = (precision * gained).sum(axis=1) / total[:, 0]
    return means


def _at_recall(hits: Array, misses: Array, total: Array, others: Array) -> Array:
    """Return the share of misses at the first threshold where enough hits pass."""
    enough = hits >= np.ceil(_RECALL * total - 1e-9)  # 0.95 * 20 is above 19 in floats
    first = enough.argmax(axis=1)[:, None]
    shares: Array = np.take_along_axis(misses, first, axis=1)[:, 0] / others[:, 0]
    return shares


def _checked(side: str, scores: Float[Tensor, " n"]) -> Array:
    values: Array = scores.detach().cpu().double().numpy()
    if not len(values):
        raise DataError(f"there is no score of the {side} set")
    if np.isnan(values).any():
        raise CheckpointError(
            f"{np.isnan(values).sum()} scores of the {side} set are NaN",
            hint="features or logits overflow; try `precision` fp32",
        )
    return values
