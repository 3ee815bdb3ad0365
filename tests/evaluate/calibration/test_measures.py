"""Golden values and identities of the project's specification, and slow references."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from sslcli.evaluate.calibration.measures import (
    brier_score,
    classwise_calibration_errors,
    expected_calibration_error,
    maximum_calibration_error,
    measure_calibration,
    negative_log_likelihood,
    top_label_bins,
)

# Confidences off every edge; found alike by three libraries to 2e-8.
GOLDEN = torch.tensor(
    [[0.71, 0.19, 0.10], [0.11, 0.78, 0.11], [0.26, 0.33, 0.41], [0.91, 0.05, 0.04],
     [0.35, 0.33, 0.32], [0.05, 0.06, 0.89], [0.52, 0.28, 0.20], [0.15, 0.23, 0.62]],
    dtype=torch.float64,
)  # fmt: skip
LABELS = torch.tensor([0, 1, 0, 0, 2, 2, 1, 2])
ON_EDGE = torch.tensor(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.35, 0.4], [0.9, 0.05, 0.05],
     [0.34, 0.33, 0.33], [0.05, 0.05, 0.9], [0.5, 0.3, 0.2], [0.15, 0.25, 0.6]],
    dtype=torch.float64,
)  # fmt: skip


def drawn(n, classes, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return logits.softmax(dim=1), torch.randint(classes, (n,), generator=generator)


def slow_ece(confidence, right, bins):
    """Visit every bin (lower, upper] and every sample, as the paper's equation reads."""
    total = 0.0
    for b in range(bins):
        inside = [
            i for i, c in enumerate(confidence)
            if (b / bins < c or (b == 0 and c == 0)) and c <= (b + 1) / bins
        ]  # fmt: skip
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


@pytest.mark.parametrize("bins", [5, 10, 15, 20])
def test_golden_expected_error_for_each_number_of_bins(bins):
    assert expected_calibration_error(GOLDEN, LABELS, bins) == pytest.approx(0.29625, abs=1e-12)


@pytest.mark.parametrize(("bins", "error"), [(5, 0.465), (10, 0.52), (15, 0.52), (20, 0.52)])
def test_golden_maximum_error(bins, error):
    assert maximum_calibration_error(GOLDEN, LABELS, bins) == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize(
    ("bins", "mean"), [(5, 0.3029167), (10, 0.3021429), (15, 0.3242857), (20, 0.29625)]
)
def test_golden_unweighted_mean_of_gaps_over_bins_that_hold_samples(bins, mean):
    gaps = top_label_bins(GOLDEN, LABELS, bins).gap
    assert float(gaps.abs().mean()) == pytest.approx(mean, abs=1e-7)


def test_golden_equal_count_error():
    assert expected_calibration_error(GOLDEN, LABELS, 4, "mass") == pytest.approx(0.20125)


def test_golden_classwise_errors():
    found = classwise_calibration_errors(GOLDEN, LABELS)
    assert found.tolist() == pytest.approx([0.2875, 0.10125, 0.25375])
    assert float(found.mean()) == pytest.approx(0.2141667, abs=1e-7)


def test_golden_accuracy_likelihood_and_brier_score():
    measured = measure_calibration(GOLDEN.log(), LABELS)
    assert measured.top1 == 0.625
    assert measured.nll == pytest.approx(0.6299131965, abs=1e-10)
    assert measured.brier == pytest.approx(0.350025, abs=1e-12)
    assert measured.n == 8


def test_an_upper_edge_belongs_to_its_bin_in_float64():
    assert expected_calibration_error(ON_EDGE, LABELS, 5) == pytest.approx(0.1925)
    assert expected_calibration_error(ON_EDGE.float(), LABELS, 5) == pytest.approx(0.2925)


def test_saturated_confidences_share_the_last_bin():
    sure = torch.tensor([[1, 0], [1, 0], [0.97, 0.03], [0.97, 0.03]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 0])
    assert expected_calibration_error(sure, labels) == pytest.approx(0.235)
    assert maximum_calibration_error(sure, labels) == pytest.approx(0.235)


def test_a_probability_of_zero_is_in_the_first_bin():
    wrong = classwise_calibration_errors(torch.eye(2).double(), torch.tensor([1, 0]))
    assert wrong.tolist() == [1, 1]  # dropping what was called impossible would leave a half


@pytest.mark.parametrize("bins", [1, 7, 15, 100])
@pytest.mark.parametrize("classes", [2, 10])
def test_expected_error_equals_the_slow_reference(bins, classes):
    probabilities, labels = drawn(300, classes)
    confidence, guess = probabilities.max(dim=1)
    slow = slow_ece(confidence.tolist(), (guess == labels).tolist(), bins)
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(slow, abs=1e-12)


def test_classwise_errors_equal_the_slow_reference():
    probabilities, labels = drawn(200, 4)
    slow = [slow_ece(probabilities[:, c].tolist(), (labels == c).tolist(), 15) for c in range(4)]
    assert classwise_calibration_errors(probabilities, labels).tolist() == pytest.approx(slow)


def test_equal_count_error_equals_chunks_of_sorted_samples():
    probabilities, labels = drawn(203, 5)
    confidence, guess = probabilities.max(dim=1)
    order = confidence.argsort()
    right = (guess == labels).double()
    slow = sum(
        len(chunk) / 203 * abs(float(right[chunk].mean() - confidence[chunk].mean()))
        for chunk in order.tensor_split(15)
    )
    assert expected_calibration_error(probabilities, labels, 15, "mass") == pytest.approx(slow)


def test_the_order_of_tied_samples_does_not_matter():
    probabilities = torch.tensor([[1.0, 0.0]] * 30 + [[0.8, 0.2]] * 11, dtype=torch.float64)
    labels = (torch.arange(41) % 3 == 0).long()
    first = expected_calibration_error(probabilities, labels, 7, "mass")
    for seed in range(5):
        order = torch.randperm(41, generator=torch.Generator().manual_seed(seed))
        again = expected_calibration_error(probabilities[order], labels[order], 7, "mass")
        assert again == pytest.approx(first, abs=1e-12)


def test_more_bins_than_samples_leave_empty_ones_without_a_say():
    for scheme in ("width", "mass"):
        bins = top_label_bins(GOLDEN, LABELS, 100, scheme)
        confidence, guess = GOLDEN.max(dim=1)
        alone = ((guess == LABELS).double() - confidence).abs().mean()
        assert bins.count.tolist() == [1] * 8
        assert bins.expected_error() == pytest.approx(float(alone))


def test_one_bin_compares_accuracy_with_mean_confidence():
    gap = abs(0.625 - float(GOLDEN.max(dim=1).values.mean()))
    for scheme in ("width", "mass"):
        assert expected_calibration_error(GOLDEN, LABELS, 1, scheme) == pytest.approx(gap)


def test_samples_drawn_from_the_probabilities_are_calibrated():
    probabilities, _ = drawn(200_000, 5)
    generator = torch.Generator().manual_seed(1)
    labels = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    assert expected_calibration_error(probabilities, labels) < 0.005
    assert float(classwise_calibration_errors(probabilities, labels).max()) < 0.005


def test_scores_of_sure_and_of_uniform_guesses():
    labels = torch.tensor([0, 1])
    right = torch.eye(2, dtype=torch.float64)
    uniform = torch.full((2, 4), 0.25, dtype=torch.float64)
    assert brier_score(right, labels) == 0
    assert brier_score(right, 1 - labels) == 2
    assert brier_score(uniform, labels) == pytest.approx(0.75)
    assert negative_log_likelihood(uniform.log(), labels) == pytest.approx(math.log(4))
    assert negative_log_likelihood(right.log(), 1 - labels) == math.inf


def test_logits_are_refused_and_never_normalised():
    with pytest.raises(ValueError, match="are these logits"):
        expected_calibration_error(GOLDEN.log(), LABELS)
    with pytest.raises(ValueError, match="does not sum to 1"):
        expected_calibration_error(GOLDEN / 2, LABELS)


@pytest.mark.parametrize(
    ("probabilities", "labels", "bins", "scheme", "match"),
    [
        (GOLDEN, LABELS + 1, 15, "width", r"outside \[0, 3\)"),
        (GOLDEN[:0], LABELS[:0], 15, "width", "no sample"),
        (GOLDEN * math.nan, LABELS, 15, "width", "outside"),
        (GOLDEN, LABELS, 0, "width", "must be a bin"),
    ],
)
def test_wrong_arguments_are_refused(probabilities, labels, bins, scheme, match):
    with pytest.raises(ValueError, match=match):
        expected_calibration_error(probabilities, labels, bins, scheme)


def test_an_unknown_scheme_is_refused_by_tests_that_check_types_and_by_the_function():
    with pytest.raises((ValueError, TypeCheckError), match="'height'"):
        expected_calibration_error(GOLDEN, LABELS, 15, "height")
