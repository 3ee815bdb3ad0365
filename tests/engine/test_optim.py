import json

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sslcli.config.optimizers import (
    AdamConfig,
    LARSConfig,
    RMSPropConfig,
    ScheduleConfig,
    SGDConfig,
)
from sslcli.config.schema import Config
from sslcli.engine.lars import LARS
from sslcli.engine.optim import build_optimizer, clip_gradients, excluded, scaled_lr
from sslcli.engine.schedule import set_rates
from sslcli.methods.base import ParamGroup, trainable

SHARED = {"base_lr": 0.1, "lr_scaling": "linear", "weight_decay": 1e-2}
SGD = SGDConfig(name="sgd", momentum=0.9, **SHARED)
ADAM = AdamConfig(name="adam", **SHARED)
ADAMW = AdamConfig(name="adamw", **SHARED)
LARS_ = LARSConfig(name="lars", momentum=0.9, trust=1e-3, **SHARED)
RMSPROP = RMSPropConfig(name="rmsprop", momentum=0.9, decay=0.8, eps=0.5, **SHARED)
EVERY = [SGD, ADAM, ADAMW, LARS_, RMSPROP]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))])
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))


def net() -> Net:
    torch.manual_seed(0)
    return Net().to(memory_format=torch.channels_last)


def groups(module: nn.Module) -> list[ParamGroup]:
    return [ParamGroup(list(trainable(module)))]


def fill_gradients(module: nn.Module, step: int) -> None:
    for p in module.parameters():
        p.grad = torch.sin(100 * p.detach() + step)


@pytest.mark.parametrize(
    ("scaling", "expected"), [("linear", 0.2), ("sqrt", 0.1 * 2**0.5), ("none", 0.1)]
)
def test_rate_scales_with_the_global_batch(scaling, expected):
    config = SGD.model_copy(update={"lr_scaling": scaling})
    assert scaled_lr(config, 512) == pytest.approx(expected)


def test_rmsprop_is_tensorflows():
    """The mean square starts at 1, the root holds eps, and the momentum buffer holds the rate."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = build_optimizer([ParamGroup([("w", weight)])], RMSPROP, 256)
    w, square, buffer = weight.detach().clone(), torch.ones(2), torch.zeros(2)
    for step, rate in enumerate((0.1, 0.02, 0.3)):
        gradient = torch.tensor([0.5, 3.0]) * (step + 1)
        optimizer.param_groups[0]["lr"], weight.grad = rate, gradient.clone()
        optimizer.step()
        gradient = gradient + 1e-2 * w
        square = 0.8 * square + 0.2 * gradient**2
        buffer = 0.9 * buffer + rate * gradient / (square + 0.5).sqrt()
        w = w - buffer
        torch.testing.assert_close(weight.detach(), w)


def test_exclusions_name_their_tensors():
    named = list(trainable(net()))
    norms = {"bn.weight", "bn.bias", "blocks.0.1.weight", "blocks.0.1.bias"}
    assert excluded(named, "none") == set()
    assert excluded(named, "norm") == norms
    assert excluded(named, "bias-and-norm") == norms | {"conv.bias", "blocks.0.0.bias"}


def test_norm_at_the_root_is_found():
    assert excluded(trainable(nn.LayerNorm(3)), "norm") == {"weight", "bias"}


@pytest.mark.parametrize("config", EVERY)
def test_every_parameter_is_in_exactly_one_group(config):
    module = net()
    config = config.model_copy(update={"exclude_from_decay": "norm"})
    optimizer = build_optimizer(groups(module), config, 256)
    listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in module.parameters())


def test_groups_split_by_decay_and_trust():
    config = LARS_.model_copy(update={"exclude_from_decay": "norm"})
    optimizer = build_optimizer(groups(net()), config, 256)
    kinds = {(g["weight_decay"], g["trust"]): g["param_names"] for g in optimizer.param_groups}
    assert isinstance(optimizer, LARS)
    assert kinds[1e-2, 0.0] == ["conv.bias", "blocks.0.0.bias"]
    assert kinds[0.0, 0.0] == ["bn.weight", "bn.bias", "blocks.0.1.weight", "blocks.0.1.bias"]
    assert set(kinds[1e-2, 1e-3]) == {"cls_token", "conv.weight", "blocks.0.0.weight"}


def test_adamw_decouples_decay_and_adam_does_not():
    moved = {}
    for config in (ADAM, ADAMW):
        weight = nn.Parameter(torch.ones(2, 2))
        optimizer = build_optimizer([ParamGroup([("weight", weight)])], config, 256)
        weight.grad = torch.zeros(2, 2)
        optimizer.step()
        moved[config.name] = 1 - weight[0, 0].item()
    assert moved["adamw"] == pytest.approx(0.1 * 1e-2, rel=1e-3)
    assert moved["adam"] == pytest.approx(0.1, rel=1e-3)


def test_nesterov_reaches_sgd():
    config = SGD.model_copy(update={"nesterov": True})
    assert build_optimizer(groups(net()), config, 256).param_groups[0]["nesterov"]


@pytest.mark.parametrize("config", EVERY)
def test_parameter_without_gradient_stays_bit_identical(config):
    module = net()
    optimizer = build_optimizer(groups(module), config, 256)
    fill_gradients(module, 0)
    optimizer.step()
    fill_gradients(module, 1)
    module.conv.weight.grad = None
    kept = module.conv.weight.detach().clone()
    optimizer.step()
    assert torch.equal(module.conv.weight, kept)


@pytest.mark.parametrize("config", EVERY)
def test_late_first_gradient_is_no_fault(config):
    module = net()
    optimizer = build_optimizer(groups(module), config, 256)
    fill_gradients(module, 0)
    module.conv.weight.grad = None
    optimizer.step()
    fill_gradients(module, 1)
    optimizer.step()
    assert all(p.isfinite().all() for p in module.parameters())


def stored(optimizer: torch.optim.Optimizer) -> dict:
    """Return the state as a file gives it back: contiguous tensors, groups through JSON."""
    described = optimizer.state_dict()
    state = {
        key: {name: value.contiguous().clone() for name, value in tensors.items()}
        for key, tensors in described["state"].items()
    }
    return {"state": state, "param_groups": json.loads(json.dumps(described["param_groups"]))}


@pytest.mark.parametrize("config", EVERY)
def test_resumed_optimizer_goes_on_exactly(config):
    config = config.model_copy(update={"exclude_from_decay": "bias-and-norm"})
    first, second = net(), net()
    optimizer, resumed = (build_optimizer(groups(m), config, 256) for m in (first, second))
    for step in range(2):
        fill_gradients(first, step)
        optimizer.step()
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(stored(optimizer))
    for step in range(2, 4):
        for module, its in ((first, optimizer), (second, resumed)):
            fill_gradients(module, step)
            its.step()
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("config", EVERY)
def test_restored_buffers_have_their_parameters_layout(config):
    module = net()
    optimizer = build_optimizer(groups(module), config, 256)
    fill_gradients(module, 0)
    optimizer.step()
    optimizer.load_state_dict(stored(optimizer))
    weight = module.conv.weight
    assert not weight.is_contiguous()
    buffers = [v for v in optimizer.state[weight].values() if v.ndim == 4]
    assert buffers
    assert all(buffer.stride() == weight.stride() for buffer in buffers)


def test_constant_groups_keep_their_rate():
    encoder, predictor = nn.Linear(2, 2), nn.Linear(2, 2)
    parts = [
        ParamGroup(list(trainable(encoder, "encoder"))),
        ParamGroup(list(trainable(predictor, "predictor")), constant_lr=True),
    ]
    changes = {"exclude_from_decay": "bias-and-norm", "weight_decay_end": 0.5}
    sgd, schedule = SGD.model_copy(update=changes), ScheduleConfig(name="cosine")
    config = Config.model_construct(optimizer=sgd, schedule=schedule)
    optimizer = build_optimizer(parts, sgd, 512)
    set_rates(optimizer, config, step=50, total_steps=100, steps_per_epoch=10)
    rates = [(g["param_names"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups]
    assert rates == [
        (["encoder.weight"], pytest.approx(0.1), pytest.approx(0.255)),
        (["encoder.bias"], pytest.approx(0.1), 0.0),
        (["predictor.weight"], pytest.approx(0.2), pytest.approx(0.255)),
        (["predictor.bias"], pytest.approx(0.2), 0.0),
    ]


def gradients(*values: list[float]) -> list[nn.Parameter]:
    made = [nn.Parameter(torch.zeros(len(v))) for v in values]
    for parameter, value in zip(made, values, strict=True):
        parameter.grad = torch.tensor(value)
    return [*made, nn.Parameter(torch.zeros(3))]


def test_global_clipping_equals_torch():
    ours, theirs = gradients([3.0, 4.0], [12.0]), gradients([3.0, 4.0], [12.0])
    norm = clip_gradients(ours, SGD.model_copy(update={"clip_norm": 6.5}))
    expected = nn.utils.clip_grad_norm_(theirs, 6.5)
    assert norm is not None
    assert norm.item() == pytest.approx(13.0)
    assert norm.item() == expected.item()
    for p, q in zip(ours[:2], theirs[:2], strict=True):
        assert torch.equal(p.grad, q.grad)


def test_each_parameter_is_clipped_by_itself():
    parameters = gradients([3.0, 4.0], [0.5])
    norm = clip_gradients(parameters, SGD.model_copy(update={"clip_norm": 1.0, "clip_each": True}))
    torch.testing.assert_close(parameters[0].grad, torch.tensor([0.6, 0.8]))
    assert torch.equal(parameters[1].grad, torch.tensor([0.5]))
    assert norm is not None
    assert norm.item() == pytest.approx(25.25**0.5)


def test_no_clipping_leaves_gradients_alone():
    parameters = gradients([3.0, 4.0])
    assert clip_gradients(parameters, SGD) is None
    assert torch.equal(parameters[0].grad, torch.tensor([3.0, 4.0]))


@pytest.mark.parametrize("clip_each", [False, True])
@pytest.mark.parametrize("config", EVERY)
def test_step_never_waits_for_the_device(config, clip_each):
    # Reading a value back is impossible under fake tensors, so it would raise.
    with FakeTensorMode(), torch.device("cuda"):
        layer = nn.Linear(3, 3)
        config = config.model_copy(update={"clip_norm": 1.0, "clip_each": clip_each})
        optimizer = build_optimizer(groups(layer), config, 256)
        for p in layer.parameters():
            p.grad = torch.zeros_like(p)
        norm = clip_gradients(layer.parameters(), config)
        optimizer.step()
    assert norm is not None
    assert norm.device.type == layer.weight.device.type == "cuda"
