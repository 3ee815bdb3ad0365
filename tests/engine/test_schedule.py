import math

import pytest

from sslcli.config.optimizers import ScheduleConfig, SGDConfig
from sslcli.engine.schedule import lr_factor, weight_decay

DECAY = SGDConfig(name="sgd", momentum=0.9, base_lr=1.0, lr_scaling="none", weight_decay=0.04)


def rates(total: int = 100, per_epoch: int = 10, **schedule) -> list[float]:
    config = ScheduleConfig(**schedule)
    return [lr_factor(config, step, total, per_epoch) for step in range(total + 1)]


def test_cosine_starts_at_one_and_reaches_final_after_the_last_step():
    found = rates(name="cosine", final=0.25)
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.625)
    assert found[99] > found[100] == 0.25


def test_warm_up_is_linear_and_meets_the_cosine():
    found = rates(name="cosine", warmup="2 epochs", warmup_start=0.1)
    assert found[0] == 0.1
    assert found[10] == pytest.approx(0.55)
    assert found[19] == pytest.approx(0.955)
    assert found[20] == 1.0
    assert found[60] == pytest.approx(0.5)
    assert found[100] == 0.0


def test_rate_never_rises_after_warm_up_nor_falls_within():
    found = rates(name="cosine", warmup="13 steps")
    assert found[:14] == sorted(found[:14])
    assert found[13:] == sorted(found[13:], reverse=True)


def test_epochs_hold_the_rate_as_simsiam_does():
    found = rates(name="cosine", granularity="epoch")
    official = [0.5 * (1 + math.cos(math.pi * epoch / 10)) for epoch in range(10)]
    assert found[:100] == pytest.approx([rate for rate in official for _ in range(10)])


def test_epochs_hold_the_warm_up_too():
    found = rates(name="cosine", granularity="epoch", warmup="2 epochs")
    assert found[:20] == [0.0] * 10 + [0.5] * 10
    assert found[20] == 1.0


def test_milestones_multiply_by_gamma():
    found = rates(name="step", milestones=("60%", "80 steps"), gamma=0.1, warmup="5 steps")
    assert found[5] == found[59] == 1.0
    assert found[60] == found[79] == pytest.approx(0.1)
    assert found[80] == pytest.approx(0.01)


def test_each_milestone_may_have_a_factor_of_its_own():
    found = rates(name="step", milestones=("20%", "40%", "60%"), gamma=(0.1, 0.5, 0.2))
    assert [found[19], found[20], found[40], found[60]] == pytest.approx([1.0, 0.1, 0.05, 0.01])
    with pytest.raises(ValueError, match="one factor for each milestone"):
        ScheduleConfig(name="step", milestones=("20%",), gamma=(0.1, 0.5))


def test_constant_stays():
    assert set(rates(name="constant")) == {1.0}


def test_warm_up_longer_than_the_run_just_rises():
    found = rates(total=4, name="cosine", warmup="8 steps")
    assert found == [0.0, 0.125, 0.25, 0.375, 0.5]


def test_weight_decay_is_constant_without_an_end():
    assert {weight_decay(DECAY, step, 10) for step in range(11)} == {0.04}


def test_weight_decay_follows_dinos_cosine():
    config = DECAY.model_copy(update={"weight_decay_end": 0.4})
    assert weight_decay(config, 0, 100) == pytest.approx(0.04)
    assert weight_decay(config, 50, 100) == pytest.approx(0.22)
    assert weight_decay(config, 100, 100) == 0.4


def test_the_exponential_drops_at_every_interval_after_warm_up():
    found = rates(
        name="exponential",
        warmup="2 epochs",
        warmup_start=0.5,
        gamma=0.97,
        decay_every="0.5 epochs",
    )
    assert found[10] == pytest.approx(0.75)
    assert found[20:25] == [1.0] * 5
    assert found[25:30] == [0.97] * 5
    assert found[99] == pytest.approx(0.97**15)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ({"name": "exponential"}, "needs it"),
        ({"name": "cosine", "decay_every": "1 epochs"}, "belongs to"),
        ({"name": "exponential", "decay_every": "0 steps"}, "longer than nothing"),
    ],
)
def test_an_interval_and_the_exponential_belong_together(schedule, reason):
    with pytest.raises(ValueError, match=reason):
        ScheduleConfig(**schedule)
