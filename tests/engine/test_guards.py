"""What each guard says, and when it keeps quiet."""

import math
import re

import pytest
from toy import toy_config

from sslcli.config.presets import resolve
from sslcli.engine.guards import Guards
from sslcli.errors import UnhealthyError
from sslcli.methods.base import Alarm
from sslcli.methods.registry import method_class

SOUND = {"loss": 2.0, "lr": 0.1, "data_wait": 0.0, "weights_finite": True}


@pytest.fixture
def told():
    return []


def guards(told, precision="fp32", history=(), alarms=(), **train):
    remedy = "raise data.workers"
    return Guards(toy_config(**train), precision, lambda: remedy, told.append, history, alarms)


def judge(guard, *rows, chance=None, every=50):
    for step, row in enumerate(rows, 1):
        guard.check(SOUND | {"step": every * step} | row, chance)


def losses(*values):
    return [{"loss": float(value)} for value in values]


def test_a_sound_run_is_left_alone(told):
    judge(guards(told), *losses(2.0, 1.5, 3.0, 1.0, 0.5, 0.5, 0.5), chance=math.log(8))
    assert told == []


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_with_step_cause_and_remedy(told, loss):
    with pytest.raises(UnhealthyError, match=r"loss .* by step 100") as caught:
        judge(guards(told, "bf16"), {}, {"loss": loss})
    assert "base_lr (the rate was 0.1)" in caught.value.hint
    assert "fp32" in caught.value.hint


def test_weights_that_are_not_finite_stop(told):
    with pytest.raises(UnhealthyError, match=r"weights, .* ceased"):
        judge(guards(told), {"weights_finite": False})


@pytest.mark.parametrize(("first", "last"), [(7.0, 78.0), (-1.0, 9.1), (0.0, 10.1)])
def test_an_exploding_loss_stops(told, first, last):
    with pytest.raises(UnhealthyError, match="exploded from") as caught:
        judge(guards(told), {"loss": first}, {"loss": last})
    assert caught.value.where == "train.explosion"
    judge(guards(told, explosion=100), {"loss": first}, {"loss": last})


# A linear probe on 240 images at MoCo's rate of 30, which ends with 94 % accuracy.
PROBE = [1.38, 114.3, 1111, 1862, 1534, 384, 116.7, 154, 47.5, 26.6, 20.1, 9.3, 10.8, 7.4, 9.7]
PROBE += [8.1, 4.2, 5.8, 2.9, 10.3, 16.0, 9.0]


@pytest.mark.parametrize("every", [1, 5])
def test_a_loss_that_starts_high_and_comes_down_is_left_alone(told, every):
    judge(guards(told), *losses(*PROBE), every=every)


@pytest.mark.parametrize("last", [500, 1700])
def test_a_loss_that_starts_high_and_stays_or_leaps_later_has_exploded(told, last):
    with pytest.raises(UnhealthyError, match="exploded from"):
        judge(guards(told), *losses(*PROBE, last), every=1)
    with pytest.raises(UnhealthyError, match=r"by step (21|4\d)"):
        judge(guards(told), *losses(1.38, *[last] * 60), every=1)


def test_a_loss_that_doubles_for_ever_has_exploded(told):
    with pytest.raises(UnhealthyError, match="exploded"):
        judge(guards(told), *losses(*[1.0] * 5, *(2.0**power for power in range(12))))


@pytest.mark.parametrize("sign", [1, -1])
def test_without_a_bound_on_its_rise_a_loss_stops_beyond_its_limit(told, sign):
    judge(guards(told, explosion=0), *losses(1.0, sign * 1e7))
    with pytest.raises(UnhealthyError) as caught:
        judge(guards(told, explosion=0), *losses(sign * 1.1e8), every=1)
    assert caught.value.where == "train.loss_limit"


def test_a_run_that_goes_on_is_judged_by_what_it_logged_before(told):
    before = [SOUND | {"step": 50 * n, "loss": math.log(64)} for n in range(1, 5)]
    with pytest.raises(UnhealthyError, match=r"exploded from 4.159 to 100 by step 250"):
        guards(told, history=before).check(SOUND | {"step": 250, "loss": 100.0}, None)
    last = SOUND | {"step": 250, "loss": math.log(64)}
    guards(told, history=before).check(last, math.log(64))
    assert "a guess costs 4.159" in told[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_density_whose_samples_part_from_the_data_is_told_and_then_stopped(told, sign):
    alarms = method_class("jem").alarms
    judge(guards(told, alarms=alarms), *[{"log_p_gap": sign * gap} for gap in (9.0, 11.0, 900.0)])
    assert len(told) == 1
    assert "11 nats apart by step 100" in told[0]
    with pytest.raises(UnhealthyError, match="the model has diverged"):
        judge(guards(told, alarms=alarms), {"loss": -sign * 1e9, "log_p_gap": sign * 1e9})


@pytest.mark.parametrize("preset", ["jem/digits", "igebm/digits", "hdge/digits"])
def test_a_density_is_told_to_change_fields_that_its_method_has(told, preset):
    config = resolve(preset).config
    alarms = method_class(config.method.name).alarms
    judge(Guards(config, "fp32", str, told.append, alarms=alarms), {"log_p_gap": 20.0})
    named = re.findall(r"(?:raise|lower) method\.(\w+)", told[0])
    assert named
    assert all(hasattr(config.method, name) for name in named)


def test_collapse_is_told_once_or_stops(told):
    flat = {"embedding_std": 0.01, "effective_rank": 30.0}
    judge(guards(told), flat, flat)
    assert len(told) == 1
    assert "embedding_std 0.0100" in told[0]
    assert "step 50" in told[0]
    with pytest.raises(UnhealthyError, match="collapsed"):
        judge(guards(told, on_collapse="stop"), {"embedding_std": 1.0, "effective_rank": 1.5})


def test_a_loss_at_chance_is_told_once_with_the_loss_of_a_guess(told):
    still = {"loss": math.log(4096) * 0.999}
    judge(guards(told), *[still] * 9, chance=math.log(4096))
    assert len(told) == 1
    assert f"(step 250), and a guess costs {math.log(4096):.4g}" in told[0]


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


def test_an_alarm_of_any_method_is_told_once(told):
    alarm = Alarm("drift", 3.0, "the keys have drifted by {value:.1f}", ("raise it",), "method.m")
    judge(guards(told, alarms=[alarm]), *[{"drift": drift} for drift in (1.0, -4.0, 5.0)])
    assert told == ["the keys have drifted by 4.0 by step 100; raise it if it widens"]
