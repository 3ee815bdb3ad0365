"""MoCo v1 and v2 against a slow reference, and their traps."""

import math

import pytest
import torch
from pydantic import ValidationError
from tiny_instance import PROGRESS, batch, stepped, tiny_encoder
from torch import nn
from torch.nn import functional

from sslcli.config.methods.instance import MoCoConfig, MoCoV2Config
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch
from sslcli.errors import ConfigError
from sslcli.methods import moco
from sslcli.methods.moco import MoCo, MoCoV2
from sslcli.nn.norm import SplitBatchNorm

NUMBERS = {"dim": 5, "temperature": 0.2, "momentum": 0.9, "queue_size": 32}


def make(**fields):
    encoder = tiny_encoder()
    return MoCo(MoCoConfig(name="moco-v1", **(NUMBERS | fields)), encoder)


def slow_loss(queries, keys, past, temperature):
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        query = query / query.norm()
        scores = [float(query @ other) / temperature for other in (key / key.norm(), *past)]
        total -= scores[0] - math.log(sum(map(math.exp, scores)))
    return total / len(queries)


@pytest.mark.parametrize("symmetric", [False, True])
def test_loss_is_the_papers_algorithm(symmetric):
    method, one = make(symmetric=symmetric), batch()
    loss = method(one, PROGRESS).loss.item()
    past, expected = make().queue.rows, 0.0
    for mine, other in ((0, 1), (1, 0))[: 2 if symmetric else 1]:
        queries = method.head(method.encoder(one.views[mine])).detach()
        expected += slow_loss(queries, method.target(one.views[other]), past, 0.2)
    assert loss == pytest.approx(expected, abs=1e-5)


def test_the_queue_starts_full_of_unit_vectors():
    queue = make().queue
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(32))
    assert (queue.held, queue.pointer) == (32, 0)


@pytest.mark.parametrize("symmetric", [False, True])
def test_keys_are_queued_after_the_loss(symmetric):
    method = make(symmetric=symmetric)
    before = method.queue.rows.clone()
    output = method(batch(), PROGRESS)
    assert torch.equal(method.queue.rows, before)
    method.after_step(PROGRESS, output.carry)
    count = 16 if symmetric else 8
    assert torch.equal(method.queue.rows[:count], output.carry["keys"])
    assert torch.equal(method.queue.rows[count:], before[count:])
    torch.testing.assert_close(output.carry["keys"].norm(dim=1), torch.ones(count))


def test_the_key_encoder_moves_by_its_average_alone():
    method = make()
    old = [parameter.clone() for parameter in method.target.parameters()]
    assert not any(parameter.requires_grad for parameter in method.target.parameters())
    stepped(method, batch())
    online = [*method.encoder.parameters(), *method.head.parameters()]
    for was, now, query in zip(old, method.target.parameters(), online, strict=True):
        torch.testing.assert_close(now, 0.9 * was + 0.1 * query)


@pytest.mark.parametrize(("momentum", "is_copy"), [(0.0, True), (1.0, False)])
def test_momentum_goes_from_a_copy_to_no_change(momentum, is_copy):
    method = make(momentum=momentum)
    old = method.target[1].weight.clone()
    stepped(method, batch())
    assert torch.equal(method.target[1].weight, method.head.weight) == is_copy
    assert torch.equal(method.target[1].weight, old) != is_copy


def test_the_key_encoders_statistics_are_its_own():
    method = make()
    stepped(method, batch())
    own, theirs = method.target[0][1].running_mean, method.encoder[1].running_mean
    assert not torch.equal(own, theirs)
    assert not torch.equal(own, torch.zeros(6))


@pytest.mark.parametrize("splits", [1, 2])
def test_shuffled_keys_come_back_in_their_order(splits):
    method, one = make(splits=splits), batch()
    images = one.views[1]
    torch.manual_seed(5)
    keys = method(one, PROGRESS).carry["keys"]
    torch.manual_seed(5)
    order = torch.randperm(8)
    expected = functional.normalize(method.target(images[order]), dim=1)
    torch.testing.assert_close(keys[order], expected)


def test_parts_give_queries_and_keys_other_company():
    method, plain = make(splits=2), make(splits=2, shuffle=False)
    kinds = [type(layer) for layer in method.modules() if hasattr(layer, "running_mean")]
    assert kinds == [SplitBatchNorm] * 2
    one = batch()
    images = one.views[1]
    online = functional.normalize(plain.head(plain.encoder(images)), dim=1)
    leaked, shuffled = (each(one, PROGRESS).carry["keys"] for each in (plain, method))
    torch.testing.assert_close(leaked, online)
    assert not torch.allclose(shuffled, online, atol=1e-3)


def test_parts_must_spread_over_the_processes(monkeypatch):
    monkeypatch.setattr(moco, "world_size", lambda: 4)
    split = make(splits=8).encoder[1]
    assert split.splits == 2
    assert type(make(splits=4).encoder[1]) is nn.BatchNorm2d
    with pytest.raises(ConfigError, match="6 BatchNorm parts"):
        make(splits=6)


def test_accuracy_and_chance_are_those_of_the_key_among_the_queue():
    method, one = make(), batch()
    output = method(one, PROGRESS)
    assert output.chance == pytest.approx(math.log(33))
    assert 0 <= output.metrics["contrast_top1"] <= 1
    same = method(Batch([one.views[0]] * 2, one.rows), PROGRESS)
    assert same.metrics["contrast_top1"] == 1
    assert make(symmetric=True)(one, PROGRESS).chance == pytest.approx(2 * math.log(33))


def test_heads_are_those_of_the_papers():
    assert isinstance(make().head, nn.Linear)
    for hidden, kinds in ((7, ["Linear", "ReLU", "Linear"]), (None, None)):
        config = MoCoV2Config(name="moco-v2", hidden=hidden, **NUMBERS)
        head = MoCoV2(config, tiny_encoder()).head
        assert [type(layer).__name__ for layer in head] == kinds if kinds else head.weight.shape


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"method.queue_size": 100}, "128 keys"),
        ({"method.queue_size": 200, "method.symmetric": True}, "256 keys"),
        ({"method.splits": 5}, "divisible by method.splits"),
    ],
)
def test_a_step_must_fit_the_queue_and_the_parts(fields, told):
    with pytest.raises((ConfigError, ValidationError), match=told):
        resolve("moco-v1/digits", None, fields)


def test_grey_comes_before_colour_in_v1_and_after_it_in_v2():
    orders = [resolve(f"moco-{v}/imagenet").config.views[0].order for v in ("v1", "v2")]
    ranks = [order.index("grayscale") - order.index("jitter") for order in orders]
    assert ranks == [-1, 1]


@pytest.mark.parametrize("paper", ["moco-v1", "moco-v2"])
def test_every_preset_keeps_statistics_apart(paper):
    for setting in ("imagenet", "cifar10", "cifar10-small", "digits"):
        config = resolve(f"{paper}/{setting}").config
        assert config.method.shuffle
        assert config.method.splits > 1
        assert not config.train.sync_batch_norm


def test_parts_of_batch_norm_exclude_synchronised_statistics():
    with pytest.raises(ConfigError, match="sync_batch_norm"):
        resolve("moco-v2/digits", None, {"train.sync_batch_norm": True})
