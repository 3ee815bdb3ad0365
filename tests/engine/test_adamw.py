"""AdamW without correction equals its formula, and its state is all that goes on."""

import copy
import math

import pytest
import torch
from torch import nn

from sslcli.config.optimizers import AdamConfig
from sslcli.engine.adamw import UncorrectedAdamW
from sslcli.engine.optim import build_optimizer
from sslcli.methods.base import ParamGroup

FIELDS = {"lr_scaling": "none", "base_lr": 0.1, "weight_decay": 0.5}


def slow(weight, gradients, rate, decay, eps):
    mean = square = 0.0
    for gradient in gradients:
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        weight -= rate * mean / (math.sqrt(square) + eps)
        weight -= rate * decay * weight
    return weight


def moved(weight, gradients, optimizer):
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return weight.item()


def made(value):
    weight = nn.Parameter(torch.tensor([value], dtype=torch.float64))
    return weight, UncorrectedAdamW([weight], 0.1, weight_decay=0.5)


def test_steps_are_those_of_the_formula():
    gradients = [3.0, -1.0, 0.5, 2.0]
    weight, optimizer = made(1.5)
    expected = slow(1.5, gradients, 0.1, 0.5, 1e-6)
    assert moved(weight, gradients, optimizer) == pytest.approx(expected, abs=1e-12)


def test_the_first_step_is_larger_than_adams():
    weight, optimizer = made(0.0)
    assert moved(weight, [1.0], optimizer) == pytest.approx(-0.316 * 0.95, abs=1e-3)


def test_a_restored_state_goes_on_alike():
    weight, optimizer = made(1.0)
    moved(weight, [3.0], optimizer)
    other, again = made(weight.item())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert moved(other, [-2.0], again) == moved(weight, [-2.0], optimizer)


def test_the_config_asks_for_it_and_a_weight_without_gradient_stays():
    layer = nn.Linear(2, 2)
    group = ParamGroup(list(layer.named_parameters()))
    config = AdamConfig(name="adamw", correct_bias=False, **FIELDS)
    optimizer = build_optimizer([group], config, 256)
    assert isinstance(optimizer, UncorrectedAdamW)
    before = layer.bias.detach().clone()
    layer.weight.sum().backward()
    optimizer.step()
    assert torch.equal(layer.bias, before)
    with pytest.raises(ValueError, match="goes with adamw"):
        AdamConfig(name="adam", correct_bias=False, **FIELDS)
