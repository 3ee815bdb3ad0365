import json
import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.nn import functional

from sslcli.errors import UsageError
from sslcli.evaluate.calibration.calibrators import CALIBRATORS, Calibrator, Isotonic, Temperature
from sslcli.evaluate.calibration.measures import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from sslcli.evaluate.calibration.vector_scaling import fit_vector

GOLDEN = torch.tensor(
    [[0.71, 0.19, 0.10], [0.11, 0.78, 0.11], [0.26, 0.33, 0.41], [0.91, 0.05, 0.04],
     [0.35, 0.33, 0.32], [0.05, 0.06, 0.89], [0.52, 0.28, 0.20], [0.15, 0.23, 0.62]],
    dtype=torch.float64,
).log()  # fmt: skip
LABELS = torch.tensor([0, 1, 0, 0, 2, 2, 1, 2])


def overconfident(n=4000, classes=4, factor=2.5, seed=0):
    """Logits `factor` times as large as those that the labels were drawn from."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return factor * logits, labels


def loss(logits, labels, temperature):
    return float(functional.cross_entropy(logits / temperature, labels))


def test_golden_temperature_its_likelihood_and_the_error_after():
    found = Temperature.fit(GOLDEN, LABELS)
    after = found.log_probabilities(GOLDEN)
    assert found.temperature == pytest.approx(0.6021935, abs=1e-7)
    assert negative_log_likelihood(after, LABELS) == pytest.approx(0.5839295005, abs=1e-10)
    assert expected_calibration_error(after.exp(), LABELS) == pytest.approx(0.2401936, abs=1e-7)


@pytest.mark.parametrize("factor", [1e-3, 0.5, 2.5, 1e4])
def test_temperature_is_stationary_whatever_the_scale_of_the_logits(factor):
    logits, labels = overconfident(factor=factor)
    temperature = fit_temperature(logits, labels)
    own = logits.gather(1, labels[:, None]).mean()
    expected = ((logits / temperature).softmax(dim=1) * logits).sum(dim=1).mean()
    assert float((own - expected).abs()) < 1e-12 * factor
    assert temperature == pytest.approx(factor, rel=0.1)


def test_temperature_equals_a_fine_search():
    logits, labels = overconfident(n=200)
    low, high = 1.5, 4.0
    while high - low > 1e-9:  # golden-section search of a loss with one valley
        first, second = high - 0.618034 * (high - low), low + 0.618034 * (high - low)
        lower = loss(logits, labels, first) < loss(logits, labels, second)
        low, high = (low, second) if lower else (first, high)
    assert fit_temperature(logits, labels) == pytest.approx((low + high) / 2, abs=1e-6)


def test_temperature_scales_with_the_logits_and_ignores_shifts():
    logits, labels = overconfident(n=300)
    temperature = fit_temperature(logits, labels)
    shifted = 7 * logits + torch.arange(300, dtype=torch.float64)[:, None]
    assert fit_temperature(shifted, labels) == pytest.approx(7 * temperature, rel=1e-9)


def test_temperature_keeps_ranking_and_accuracy():
    logits, labels = overconfident()
    calibrated = Temperature.fit(logits, labels).log_probabilities(logits)
    assert torch.equal(calibrated.argsort(dim=1), logits.argsort(dim=1))


@pytest.mark.parametrize(
    ("logits", "labels", "match"),
    [
        (torch.eye(3), [0, 1, 2], "classified right, so the best T is 0"),
        (torch.eye(3), [1, 2, 0], "best T is infinite"),
        (torch.zeros(3, 3), [0, 1, 2], "best T is infinite"),
    ],
)
def test_a_temperature_without_bound_is_told(logits, labels, match):
    with pytest.raises(UsageError, match=match):
        fit_temperature(logits, torch.tensor(labels))


def test_one_mistake_among_many_still_has_a_temperature():
    logits = 5 * torch.eye(10).repeat(100, 1)
    labels = torch.arange(10).repeat(100)
    labels[0] = 1
    temperature = fit_temperature(logits, labels)
    assert 0 < temperature < 1
    assert loss(logits, labels, temperature) < loss(logits, labels, temperature * 1.01)
    assert loss(logits, labels, temperature) < loss(logits, labels, temperature * 0.99)


def test_a_nan_logit_is_refused():
    for calibrator in CALIBRATORS.values():
        with pytest.raises(ValueError, match="not finite"):
            calibrator.fit(GOLDEN * math.nan, LABELS)


def test_vector_scaling_finds_the_scales_and_shifts_that_made_the_labels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50_000, 3, generator=generator, dtype=torch.float64)
    scale, shift = torch.tensor([2.0, 1.0, 0.5]).double(), torch.tensor([0.5, 0.0, -0.5]).double()
    shares = (scale * logits + shift).softmax(dim=1)
    labels = torch.multinomial(shares, 1, generator=generator)[:, 0]
    found_scale, found_shift = fit_vector(logits, labels)
    assert torch.allclose(found_scale, scale, atol=0.06)
    assert torch.allclose(found_shift, shift, atol=0.06)
    assert float(found_shift.sum()) == pytest.approx(0, abs=1e-9)


def test_vector_scaling_is_stationary():
    logits, labels = overconfident(n=1000)
    scale, shift = (each.requires_grad_() for each in fit_vector(logits, labels))
    functional.cross_entropy(scale * logits + shift, labels).backward()
    assert float(scale.grad.abs().max()) < 1e-12
    assert float(shift.grad.abs().max()) < 1e-12


def test_vector_scaling_of_a_missing_class_and_of_faultless_data_is_refused():
    logits, labels = overconfident(n=500)
    with pytest.raises(UsageError, match="1 of the 4 classes have no fitting image"):
        fit_vector(logits[labels != 2], labels[labels != 2])
    with pytest.raises(UsageError, match="do not determine 8 numbers"):
        fit_vector(logits, logits.argmax(dim=1))


def test_isotonic_curves_are_the_rising_ones_of_least_squares():
    logits, labels = overconfident(n=80)
    column = logits.softmax(dim=1)[:, 0]
    order = column.argsort()
    happened = (labels == 0)[order].tolist()
    n = len(happened)
    means = [[np.mean(happened[a : b + 1]) if a <= b else 0 for b in range(n)] for a in range(n)]
    slow = [max(min(means[a][b] for b in range(i, n)) for a in range(i + 1)) for i in range(n)]
    knots = Isotonic.fit(logits, labels).knots[0]
    assert np.interp(column[order], *knots).tolist() == pytest.approx(slow, abs=1e-12)


def test_isotonic_gives_no_class_the_probability_zero():
    logits, labels = overconfident(n=100)
    found = Isotonic.fit(logits[labels != 1], labels[labels != 1])
    calibrated = found.log_probabilities(logits)
    assert math.isfinite(negative_log_likelihood(calibrated, labels))
    assert torch.allclose(calibrated.exp().sum(dim=1), torch.ones(100, dtype=torch.float64))


@pytest.mark.parametrize("method", CALIBRATORS)
def test_every_calibrator_helps_on_images_that_it_has_not_seen(method):
    logits, labels = overconfident()
    found = CALIBRATORS[method].fit(logits[::2], labels[::2])
    seen, unseen = logits[1::2], labels[1::2]
    after = found.log_probabilities(seen)
    before = seen.log_softmax(dim=1)
    assert negative_log_likelihood(after, unseen) < negative_log_likelihood(before, unseen)
    assert expected_calibration_error(after.exp(), unseen) < 0.04
    assert expected_calibration_error(before.exp(), unseen) > 0.1


@pytest.mark.parametrize("method", CALIBRATORS)
def test_json_keeps_a_calibrator_bit_for_bit(method):
    logits, labels = overconfident(n=200)
    found = CALIBRATORS[method].fit(logits, labels)
    text = json.dumps(found.model_dump(mode="json"))
    again = TypeAdapter(Calibrator).validate_python(json.loads(text))
    assert again == found
    assert torch.equal(again.log_probabilities(logits), found.log_probabilities(logits))


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_a_folded_classifier_gives_the_calibrated_logits(method):
    logits, labels = overconfident(n=300)
    classifier, features = nn.Linear(8, 4), torch.randn(5, 8)
    found = CALIBRATORS[method].fit(logits, labels)
    with torch.no_grad():
        expected = found.calibrated(classifier(features))
        assert torch.allclose(found.folded(classifier)(features), expected, atol=1e-6)


def test_isotonic_curves_do_not_fold():
    with pytest.raises(UsageError, match="cannot be folded"):
        Isotonic.fit(GOLDEN, LABELS).folded(nn.Linear(8, 3))


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan])
def test_a_temperature_must_be_positive_and_finite(temperature):
    with pytest.raises(ValidationError):
        Temperature(temperature=temperature)
