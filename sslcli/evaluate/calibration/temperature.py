"""Find the temperature that makes a classifier's probabilities most likely, exactly."""

import math

from jaxtyping import Float, Int
from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.calibration.binning import check_labels

_ITERATIONS, _TOLERANCE = 1000, 1e-9  # of log T; bisection alone would need about 30


def fit_temperature(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> float:
    """Return the T > 0 for which softmax(logits / T) is the most likely (Guo et al. 2017, 4.2).

    arXiv:1706.04599. The loss is convex in 1 / T, and its slope rises from mean(average logit - own
    logit) to mean(largest logit - own logit). This shows in advance whether a T exists. Newton's
    method on log T, kept between bounds, finds it to the last digits; gradient descent with a fixed
    number of steps stops well before.

    Args:
        logits: Any floating type; computed in float64.
        labels: Class of each row, of samples that the classifier was not trained on.

    Raises:
        UsageError: If the loss has no smallest value: every sample is classified right (T falls
            to 0), or the right classes have no higher logits than the others (T grows for ever).
        ValueError: If a logit is not finite, a label no class, or there is no sample.
    """
    check_logits(logits, labels)
    scores = logits.double()
    scores = scores - scores.max(dim=1, keepdim=True).values
    own = float(scores.gather(1, labels[:, None]).mean())
    if _slope(scores, own, -math.inf)[0] >= 0:
        raise UsageError(
            f"on the {len(labels)} fitting images the right class has no higher logit than the "
            "others, so the best T is infinite",
            "temperature scaling",
            "this classifier knows nothing of these labels; check that data and classes match",
        )
    if own == 0:
        raise UsageError(
            f"all {len(labels)} fitting images are classified right, so the best T is 0",
            "temperature scaling",
            "fit on more images, with `fit_share` or `fit_data`; `method` none measures alone",
        )
    return 1 / _inverse_temperature(scores, own)


def _inverse_temperature(scores: Tensor, own: float) -> float:
    """Return the b > 0 where the slope of the loss is 0."""
    low, at = -math.inf, -math.log(scores.std().item())
    while (found := _slope(scores, own, at))[0] < 0:  # look for the upper bound
        low, at = at, at + 1
    high = at
    for _ in range(_ITERATIONS):
        value, rise = found
        low, high = (at, high) if value < 0 else (low, at)
        after = at - value / rise if rise > 0 else high
        if abs(after - at) <= _TOLERANCE:  # the error is then about its square
            return math.exp(after)
        if not low < after < high:
            after = (low + high) / 2 if math.isfinite(low) else at - 1
        at, found = after, _slope(scores, own, after)
    return math.exp(at)


def _slope(scores: Tensor, own: float, log_b: float) -> tuple[float, float]:
    """Return the slope of the loss along b, and how fast that rises with log b.

    It is the mean expected score under softmax(b * scores) minus the mean score of the right class.
    """
    b = math.exp(log_b)
    share = (b * scores).softmax(dim=1)
    expected = (share * scores).sum(dim=1)
    variance = (share * scores.square()).sum(dim=1) - expected.square()
    return float(expected.mean()) - own, b * float(variance.mean())


def check_logits(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> None:
    """Raise ValueError unless the logits are finite and each label is one of their classes."""
    if not bool(logits.isfinite().all()):
        raise ValueError("a logit is not finite")
    check_labels(labels, logits.shape[1])
