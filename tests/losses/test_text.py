"""Golden values, slow references and closed forms of the losses of sentences."""

import math

import pytest
import torch

from sslcli.losses.contrastive import nt_xent
from sslcli.losses.text import consert, esimcse, simcse

PLACE = torch.arange(24.0).double().view(4, 6)
A = torch.sin(1 + PLACE)
B = torch.cos(0.5 * PLACE) + 0.3 * A
HARD = torch.sin(0.7 * PLACE + 2)
QUEUE = torch.cos(1.3 * torch.arange(30.0).double()).view(5, 6)


def slow_simcse(a, b, temperature, hard=None, weight=1.0):
    def score(x, y):
        return math.exp(float(x @ y / x.norm() / y.norm()) / temperature)

    total = 0.0
    for i in range(len(a)):
        others = sum(score(a[i], b[j]) for j in range(len(b)))
        for j in range(len(a) if hard is not None else 0):
            others += (weight if j == i else 1.0) * score(a[i], hard[j])
        total -= math.log(score(a[i], b[i]) / others)
    return total / len(a)


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (lambda: simcse(A, B, 0.05), 14.945115536934846),
        (lambda: simcse(A, B, 0.05, HARD), 15.50860316807527),
        (lambda: simcse(A, B, 0.05, HARD, 3.0), 15.668895532198489),
        (lambda: esimcse(A, B, QUEUE, 0.05), 15.050703514764777),
        (lambda: consert(A, B, 0.1), 17.552957446966243),
    ],
)
def test_losses_have_their_golden_values(found, value):
    assert found().item() == pytest.approx(value, abs=1e-12)


def test_simcse_equals_a_slow_reference():
    assert simcse(A, B, 0.3).item() == pytest.approx(slow_simcse(A, B, 0.3), abs=1e-12)
    expected = slow_simcse(A, B, 0.3, HARD, 2.5)
    assert simcse(A, B, 0.3, HARD, 2.5).item() == pytest.approx(expected, abs=1e-12)


def test_collapsed_embeddings_are_a_guess():
    ones = torch.ones(4, 6)
    assert simcse(ones, ones, 0.05).item() == pytest.approx(math.log(4), abs=1e-5)
    assert simcse(ones, ones, 0.05, ones).item() == pytest.approx(math.log(8), abs=1e-5)
    assert esimcse(ones, ones, ones, 0.05).item() == pytest.approx(math.log(8), abs=1e-5)
    assert consert(ones, ones, 0.1).item() == pytest.approx(2 * math.log(7), abs=1e-5)


def test_an_empty_queue_is_simcse_and_one_of_b_keys_its_hard_negatives():
    assert esimcse(A, B, QUEUE[:0], 0.05) == simcse(A, B, 0.05)
    assert esimcse(A, B, QUEUE, 0.05, torch.tensor(0)) == simcse(A, B, 0.05)
    full, part = esimcse(A, B, HARD, 0.05), esimcse(A, B, QUEUE, 0.05, torch.tensor(2))
    assert full.item() == pytest.approx(simcse(A, B, 0.05, HARD).item(), abs=1e-12)
    assert part.item() == pytest.approx(esimcse(A, B, QUEUE[:2], 0.05).item(), abs=1e-12)


def test_lengths_do_not_count_and_consert_is_twice_nt_xent():
    assert simcse(3 * A, B, 0.05).item() == pytest.approx(simcse(A, B, 0.05).item(), abs=1e-12)
    assert consert(A, 7 * B, 0.1).item() == pytest.approx(2 * nt_xent(A, B, 0.1).item(), abs=1e-12)


def test_halves_are_computed_in_float32():
    a, b = A.bfloat16(), B.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert simcse(a, b, 0.05) == simcse(a.float(), b.float(), 0.05)
        assert esimcse(a, b, b, 0.05).dtype == torch.float32


def test_a_weight_or_temperature_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="hard_weight"):
        simcse(A, B, 0.05, HARD, 0.0)
    with pytest.raises(ValueError, match="temperature"):
        esimcse(A, B, QUEUE, 0.0)
