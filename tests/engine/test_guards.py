"""What each guard says, and when it keeps quiet."""

import math

import pytest
from toy import toy_config

from sslcli.engine.guards import Guards
from sslcli.errors import UnhealthyError

SOUND = {"loss": 2.0, "lr": 0.1, "data_wait": 0.0, "weights_finite": True}


@pytest.fixture
def told():
    return []


def guards(told, precision="fp32", **train):
    return Guards(toy_config(**train).train, precision, lambda: "raise data.workers", told.append)


def judge(guard, *rows, chance=None):
    for step, row in enumerate(rows, 1):
        guard.check(SOUND | {"step": 50 * step} | row, chance)


def test_a_sound_run_is_left_alone(told):
    losses = [{"loss": loss} for loss in (2.0, 1.5, 3.0, 1.0, 0.5, 0.5, 0.5)]
    judge(guards(told), *losses, chance=math.log(8))
    assert told == []


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_with_step_cause_and_remedy(told, loss):
    with pytest.raises(UnhealthyError, match=r"loss .* by step 100") as caught:
        judge(guards(told, "bf16"), {}, {"loss": loss})
    assert "base_lr (the rate was 0.1)" in caught.value.hint
    assert "fp32" in caught.value.hint


def test_weights_that_are_not_finite_stop(told):
    with pytest.raises(UnhealthyError, match="weights ceased"):
        judge(guards(told), {"weights_finite": False})


@pytest.mark.parametrize(("first", "last"), [(7.0, 78.0), (-1.0, 9.1), (0.0, 10.1)])
def test_an_exploding_loss_stops(told, first, last):
    with pytest.raises(UnhealthyError, match="exploded from") as caught:
        judge(guards(told), {"loss": first}, {"loss": last})
    assert caught.value.where == "train.explosion"
    judge(guards(told, explosion=100), {"loss": first}, {"loss": last})


@pytest.mark.parametrize("sign", [1, -1])
def test_a_density_whose_samples_part_from_the_data_is_told_and_then_stopped(told, sign):
    judge(guards(told), *[{"log_p_gap": sign * gap} for gap in (9.0, 11.0, 900.0)])
    assert len(told) == 1
    assert "11 nats apart by step 100" in told[0]
    with pytest.raises(UnhealthyError, match="the model has diverged"):
        judge(guards(told), {"loss": -sign * 1e9, "log_p_gap": sign * 1e9})


def test_collapse_is_told_once_or_stops(told):
    flat = {"embedding_std": 0.01, "effective_rank": 30.0}
    judge(guards(told), flat, flat)
    assert len(told) == 1
    assert "embedding_std 0.0100" in told[0]
    assert "step 50" in told[0]
    with pytest.raises(UnhealthyError, match="collapsed"):
        judge(guards(told, on_collapse="stop"), {"embedding_std": 1.0, "effective_rank": 1.5})


def test_a_loss_at_chance_is_told_once_with_its_candidates(told):
    still = {"loss": math.log(4096) * 0.999}
    judge(guards(told), *[still] * 9, chance=math.log(4096))
    assert len(told) == 1
    assert "4,096 candidates (step 250)" in told[0]


def test_a_loss_on_either_side_of_chance_is_not_at_it(told):
    judge(guards(told), *[{"loss": 0.95 * math.log(10)}] * 9, chance=math.log(10))
    judge(guards(told), *[{"loss": 1.2 * math.log(10)}] * 9, chance=math.log(10))
    judge(guards(told), *[{"loss": math.log(10)}] * 9, chance=None)
    assert told == []


def test_a_loader_that_stalls_is_told_with_its_remedy(told):
    judge(guards(told), *[{"data_wait": 0.6}] * 2, {"data_wait": 0.1}, *[{"data_wait": 0.6}] * 4)
    assert len(told) == 1
    assert "60%" in told[0]
    assert "raise data.workers" in told[0]
    assert "step 300" in told[0]
