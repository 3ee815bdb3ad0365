"""The simulated theory of DirectPred against its closed forms and reference numbers (spec 17)."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "directpred_dynamics.py"
DYNAMICS = SimpleNamespace(**runpy.run_path(str(SCRIPT)))
Rates = DYNAMICS.Rates
P_PLUS, S_PLUS = 0.6122200, 0.3748133
# The cases of the reference numbers that no figure shows.
MORE = {
    "no decay": ([0.3, -0.3, -0.3], [0.2, 0.2, 0.05], Rates(eta=0.0)),
    "nearer to collapse": (0.1, 0.01, Rates(beta=np.array([0.1, 0.03]))),
    "small start": (0.02, 0.002, Rates(alpha=np.array([1.0, 3.0]))),
}


@pytest.fixture(scope="module")
def runs():
    return DYNAMICS.simulate(DYNAMICS.all_cases() | MORE, 400)


@pytest.fixture(scope="module")
def matrices():
    return DYNAMICS.simulate_matrices(Rates(), 60)


def test_fixed_points_and_critical_decay_have_their_reference_values():
    assert Rates().fixed_points() == pytest.approx((0.0544467, P_PLUS), abs=1e-7)
    assert Rates().critical_decay() == pytest.approx(1 / 6)
    assert np.isnan(Rates(eta=0.17).fixed_points()).all()


def test_three_starts_end_and_pass_where_they_should(runs):
    run = runs["trajectories"]
    at_10, at_200 = (int(np.flatnonzero(np.isclose(run.times, t))[0]) for t in (10, 200))
    assert run.p[at_10] == pytest.approx([0.0143269, 0.0830444, 0.4626366], abs=1e-7)
    assert run.p[at_200] == pytest.approx([1.5e-6, P_PLUS, P_PLUS], abs=1e-7)
    assert run.s[at_200] == pytest.approx([2e-12, S_PLUS, S_PLUS], abs=1e-7)


def test_weight_decay_beyond_the_critical_collapses(runs):
    expected = [0.666667, 0.656512, 0.612220, 0.544152, 0.438743, 0.4, 0, 0, 0]
    assert runs["weight decay"].p[-1] == pytest.approx(expected, abs=1e-6)


def test_without_decay_a_negative_predictor_escapes_if_features_outweigh_it(runs):
    run = runs["no decay"]
    assert run.p[-1] == pytest.approx([2 / 3, 2 / 3, -0.2], abs=1e-6)
    assert run.s[-1] == pytest.approx([4 / 9 + 0.11, 4 / 9 + 0.11, 0], abs=1e-6)


def test_a_slow_target_delays_and_then_prevents_the_escape(runs):
    times = runs["target rate"].time_to(0.9 * P_PLUS)
    assert times[:-1] == pytest.approx([10.4, 11.0, 16.3, 30.0, 71.2, 246], abs=0.11)
    assert np.isnan(times[-1])
    assert runs["target rate"].p[-1, -1] == pytest.approx(0, abs=1e-6)
    assert runs["nearer to collapse"].p[-1] == pytest.approx([P_PLUS, 0], abs=1e-5)


def test_a_fast_predictor_escapes_where_a_slow_one_collapses(runs):
    run, alpha = runs["predictor rate"], np.array(DYNAMICS.PREDICTOR_RATES)
    assert run.p[-1] == pytest.approx([0, *[P_PLUS] * 4], abs=1e-6)
    assert run.s[-1, 1:] == pytest.approx(P_PLUS**2 / alpha[1:], abs=1e-6)
    assert runs["small start"].p[-1] == pytest.approx([0, P_PLUS], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("trajectories", Rates()),
        ("no decay", Rates(eta=0.0)),
        ("predictor rate", Rates(alpha=np.array(DYNAMICS.PREDICTOR_RATES))),
    ],
)
def test_invariant_holds(runs, name, rates):
    rest = runs[name].s[0] - runs[name].p[0] ** 2 / rates.alpha
    assert np.abs(rest).max() > 1e-3  # otherwise nothing is left to hold
    assert DYNAMICS.invariant_error(runs[name], rates) < 1e-10


def test_a_target_that_vanishes_later_than_the_features_stays_finite(runs):
    run = runs["target rate"]
    assert np.isfinite(run.p).all()
    assert run.s[-1, -1] < 1e-12


def test_matrices_come_to_share_their_eigenvectors(matrices):
    times, states = matrices
    found = DYNAMICS.commutators(states)
    assert found[0] > 1e-3
    assert found[-1] < 1e-14
    assert np.linalg.eigvals(states[-1, 0]) == pytest.approx([P_PLUS] * 4, abs=1e-4)
    assert DYNAMICS.matrix_invariant_error(times, states, Rates()) < 1e-10


def test_script_writes_its_figures_and_numbers(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, "--out", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "numbers.json").read_text())
    assert printed["p_plus"] == pytest.approx(P_PLUS)
    assert len(list(tmp_path.glob("*.png"))) == 6
