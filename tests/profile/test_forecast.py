"""A forecast tells about how long a step takes, and leaves no trace in the training."""

import pytest
import torch

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.engine.loop import steps, train_step
from sslcli.profile import forecast
from sslcli.profile.forecast import step_seconds


def make(preset, **fields):
    config = resolve(preset, None, {"train.duration": "3 steps", **fields}).config
    source = assemble.open_training(config).train
    facts = assemble.facts_of(source)
    method = assemble.build_method(config, facts=facts)
    return assemble.build_training(config, method, source, torch.device("cpu"), "fp32")


def trained(training):
    for batches in steps(training):
        train_step(training, batches)
    return training.method.state_dict()


@pytest.mark.parametrize("preset", ["moco-v2/digits", "instdisc/digits", "dino/digits"])
def test_a_training_that_was_foretold_learns_the_same_bit_for_bit(preset, monkeypatch):
    monkeypatch.setattr(forecast, "_LONG_ENOUGH", 0.0)
    fields = {"train.batch_size": 32, "encoder.width": 4}
    plain = trained(make(preset, **fields))
    training = make(preset, **fields)
    assert step_seconds(training) > 0
    assert training.step == 0
    told = trained(training)
    assert all(torch.equal(tensor, told[name]) for name, tensor in plain.items())


def test_images_are_doubled_until_half_a_second_is_filled(monkeypatch):
    asked = []

    def seconds(training, rows):
        asked.append(rows.shape[1])
        return rows.shape[1] / 100

    monkeypatch.setattr(forecast, "_seconds", seconds)
    training = make("simsiam/digits", **{"train.batch_size": 256, "encoder.width": 4})
    assert step_seconds(training) == pytest.approx(2.56)
    assert asked == [16, 16, 32, 64]
    asked.clear()
    training = make("simsiam/digits", **{"train.batch_size": 40, "train.accumulate": 2})
    assert step_seconds(training) == pytest.approx(0.4)
    assert asked == [16, 16, 20]
