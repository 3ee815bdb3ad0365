"""Calibration errors and proper scores of a classifier's probabilities.

All sums are float64. A calibration error depends on how samples are binned, so report it with the
number of bins, the scheme and the number of samples. Pass probabilities in float64, computed from
logits: a saturated float32 softmax puts its samples at exactly 1.

Guo et al. 2017 is arXiv:1706.04599.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sslcli.evaluate.calibration.binning import Bins, Scheme, bin_events, check_distribution
from sslcli.evaluate.calibration.temperature import fit_temperature

__all__ = [
    "Calibration",
    "brier_score",
    "classwise_calibration_errors",
    "expected_calibration_error",
    "fit_temperature",
    "maximum_calibration_error",
    "measure_calibration",
    "negative_log_likelihood",
    "top_label_bins",
]


def top_label_bins(
    probabilities: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    bins: int = 15,
    scheme: Scheme = "width",
) -> Bins:
    """Bin each sample by the probability of its most probable class, which may be right or wrong.

    Raises:
        ValueError: See `expected_calibration_error`.
    """
    check_distribution(probabilities, labels)
    confidence, guess = probabilities.max(dim=1)
    return bin_events(confidence, guess == labels, bins, scheme)


def expected_calibration_error(
    probabilities: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    bins: int = 15,
    scheme: Scheme = "width",
) -> float:
    """Return the mean gap between confidence and accuracy (Guo et al. 2017, eq. 3).

    Args:
        probabilities: One distribution a row; logits are refused, never quietly normalised.
        labels: Class of each row, in [0, classes).
        bins: How many bins.
        scheme: "width" for equal widths, "mass" for equal counts.

    Raises:
        ValueError: If a row is no distribution, a label no class, or there is no sample.
    """
    return top_label_bins(probabilities, labels, bins, scheme).expected_error()


def maximum_calibration_error(
    probabilities: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    bins: int = 15,
    scheme: Scheme = "width",
) -> float:
    """Return the largest gap of any bin that holds a sample; see `expected_calibration_error`."""
    return top_label_bins(probabilities, labels, bins, scheme).maximum_error()


def classwise_calibration_errors(
    probabilities: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    bins: int = 15,
    scheme: Scheme = "width",
) -> Float[Tensor, " classes"]:
    """Return the calibration error of each class's own probability against "it is this class".

    Their mean is the classwise or static calibration error; with equal counts it is the adaptive
    one of Nixon et al. 2019 (arXiv:1904.01685). See `expected_calibration_error`.
    """
    check_distribution(probabilities, labels)
    errors = [
        bin_events(column, labels == index, bins, scheme).expected_error()
        for index, column in enumerate(probabilities.unbind(dim=1))
    ]
    return torch.tensor(errors, dtype=torch.float64)


def negative_log_likelihood(
    log_probabilities: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> float:
    """Return the mean negative log-probability of the right class in nats; infinite if one is 0."""
    return -float(log_probabilities.double().gather(1, labels[:, None]).mean())


def brier_score(
    probabilities: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> float:
    """Return the squared distance to the truth, summed over classes: 0 to 2, as Brier wrote it."""
    truth = torch.nn.functional.one_hot(labels, probabilities.shape[1])
    return float((probabilities.double() - truth).square().sum(dim=1).mean())


@dataclass(frozen=True)
class Calibration:
    """The quality of a classifier's probabilities on `n` samples; lower is better, except for top1.

    Attributes:
        top1: Accuracy.
        ece: Expected calibration error, bins of equal width.
        ece_mass: The same, bins of equal count.
        classwise_ece: Mean over classes of each class's own error, bins of equal width.
        mce: Maximum calibration error, bins of equal width.
        nll: Negative log-likelihood in nats.
        brier: Squared error summed over classes, 0 to 2.
        n: Number of samples.
    """

    top1: float
    ece: float
    ece_mass: float
    classwise_ece: float
    mce: float
    nll: float
    brier: float
    n: int


def measure_calibration(
    log_probabilities: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], bins: int = 15
) -> Calibration:
    """Return every figure for the same samples and number of bins.

    Raises:
        ValueError: See `expected_calibration_error`.
    """
    probabilities = log_probabilities.double().exp()
    by_width = top_label_bins(probabilities, labels, bins)
    return Calibration(
        top1=float((probabilities.argmax(dim=1) == labels).double().mean()),
        ece=by_width.expected_error(),
        ece_mass=expected_calibration_error(probabilities, labels, bins, "mass"),
        classwise_ece=float(classwise_calibration_errors(probabilities, labels, bins).mean()),
        mce=by_width.maximum_error(),
        nll=negative_log_likelihood(log_probabilities, labels),
        brier=brier_score(probabilities, labels),
        n=len(labels),
    )
