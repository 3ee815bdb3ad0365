"""CMC's losses against golden values, slow references, closed forms and symmetries."""

import math

import pytest
import torch
from golden_input import golden
from torch.nn import functional

from sslcli.losses.cmc import cmc_nce, cmc_softmax
from sslcli.losses.nce import candidate_chance


def memory(shift=0.0):
    """Return 6 unit rows for each of 4 embeddings, the golden ones without a shift."""
    line = torch.arange(24.0, dtype=torch.float64)[:, None]
    column = torch.arange(6.0, dtype=torch.float64)
    rows = torch.sin(0.31 * line + 1.3 * column + 0.17 * line * column + 0.5 + shift)
    return functional.normalize(rows, dim=1).view(4, 6, 6)


def zs(first, second):
    return torch.tensor(first).double(), torch.tensor(second).double()


def slow(a, b, rows_a, rows_b, temperature, one_row):
    total = 0.0
    for views, rows in ((a, rows_b), (b, rows_a)):
        for view, own in zip(views / views.norm(dim=1, keepdim=True), rows, strict=True):
            total += one_row([math.exp(float(row @ view) / temperature) for row in own])
    return total / len(a)


def test_two_equal_views_are_twice_the_golden_value_of_instance_discrimination():
    z = torch.tensor(90274.57733).double()
    same = golden(0.7), golden(0.7), memory(), memory()
    loss = cmc_nce(*same, 0.1, 50, (z, z)).item()
    numbers = cmc_nce(*same, 0.1, 50, (90274.57733, 90274.57733)).item()
    assert numbers == pytest.approx(loss, rel=1e-7)
    assert loss == pytest.approx(2 * 7.2370571825, abs=2e-5)  # whose code adds 1e-7


def test_nce_equals_a_slow_reference_with_a_z_of_each_direction():
    given = golden(0.7), golden(0.9), memory(), memory(1.0)
    places = iter([700.0] * 4 + [90.0] * 4)

    def one_row(values):
        z, noise = next(places), 5 / 50
        own, *others = (value / z for value in values)
        return -math.log(own / (own + noise)) - sum(math.log(noise / (p + noise)) for p in others)

    found = cmc_nce(*given, 0.2, 50, zs(700.0, 90.0)).item()
    assert found == pytest.approx(slow(*given, 0.2, one_row), abs=1e-10)


def test_softmax_equals_a_slow_reference():
    given = golden(0.7), golden(0.9), memory(), memory(1.0)
    expected = slow(*given, 0.2, lambda values: -math.log(values[0] / sum(values)))
    assert cmc_softmax(*given, 0.2).item() == pytest.approx(expected, abs=1e-10)


def test_views_exchanged_with_their_memories_leave_the_sum():
    a, b, rows_a, rows_b = golden(0.7), golden(0.9), memory(), memory(1.0)
    for loss, more, swapped in (
        (cmc_nce, (0.1, 50, zs(700.0, 90.0)), (0.1, 50, zs(90.0, 700.0))),
        (cmc_softmax, (0.1,), (0.1,)),
    ):
        expected = loss(a, b, rows_a, rows_b, *more)
        torch.testing.assert_close(loss(b, a, rows_b, rows_a, *swapped), expected)
        torch.testing.assert_close(loss(3 * a, b, rows_a, rows_b, *more), expected)


def test_equal_scores_are_a_guess():
    ones, rows = torch.ones(4, 6), torch.ones(4, 6, 6)
    assert cmc_softmax(ones, ones, rows, rows, 0.5).item() == pytest.approx(2 * math.log(6))
    z = torch.tensor(50 * math.exp(6**0.5 / 0.5))  # P = 1 / n everywhere
    found = cmc_nce(ones, ones, rows, rows, 0.5, 50, (z, z)).item()
    assert found == pytest.approx(2 * candidate_chance(5), rel=1e-5)


def test_rows_are_taken_as_they_are_and_half_precision_stays_out():
    a, b = golden(0.7).float(), golden(0.9).float()
    rows_a, rows_b = memory().float(), memory(1.0).float()
    exact = cmc_softmax(a, b, rows_a, rows_b, 0.1)
    assert (cmc_softmax(a, b, 2 * rows_a, rows_b, 0.1) - exact).abs() > 0.1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cmc_softmax(a, b, rows_a, rows_b, 0.1), exact)


def test_the_temperature_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        cmc_softmax(golden(0.7), golden(0.9), memory(), memory(), 0.0)
