"""SimCLR and SimCLR v2 against their papers and the official code's head."""

import math

import pytest
import torch
from tiny_images import PROGRESS, flat_encoder, pairs, stepped

from sslcli.config.methods.contrastive import SimCLRConfig, SimCLRv2Config
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError
from sslcli.losses.contrastive import nt_xent
from sslcli.methods.simclr import SimCLR
from sslcli.methods.simclr_v2 import SimCLRv2


def simclr(**fields):
    torch.manual_seed(0)
    numbers = {"name": "simclr", "hidden": 16, "dim": 8, "temperature": 0.2}
    return SimCLR(SimCLRConfig(**(numbers | fields)), flat_encoder())


def simclr_v2(**fields):
    torch.manual_seed(0)
    numbers = {"name": "simclr-v2", "projector_layers": 3, "hidden": 16, "dim": 8}
    return SimCLRv2(SimCLRv2Config(**(numbers | {"temperature": 0.2} | fields)), flat_encoder())


def test_the_loss_is_that_of_algorithm_1():
    method, batch = simclr(), pairs()
    z = method.projector(method.encoder(torch.cat(batch.views))).detach()
    z, expected = z / z.norm(dim=1, keepdim=True), 0.0
    for i in range(12):
        weights = [math.exp(float(z[i] @ z[k]) / 0.2) for k in range(12) if k != i]
        expected -= math.log(math.exp(float(z[i] @ z[(i + 6) % 12]) / 0.2) / sum(weights)) / 12
    assert method(batch, PROGRESS).loss.item() == pytest.approx(expected, abs=1e-5)


def test_batch_norm_sees_both_views_together():
    method, batch = simclr(), pairs()
    apart = [method.projector(method.encoder(view)) for view in batch.views]
    together = method.embed(batch)
    assert not torch.allclose(torch.cat(together), torch.cat(apart), atol=1e-3)


@pytest.mark.parametrize(
    ("method", "hidden"), [(simclr(), 1), (simclr_v2(), 2), (simclr(projector="linear"), 0)]
)
def test_the_heads_last_batch_norm_has_a_scale_and_no_shift(method, hidden):
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * hidden + ["Linear", "BatchNorm1d"]
    assert not any(layer.bias is not None for layer in method.projector[::3])
    assert method.projector[-1].weight.requires_grad
    assert not method.projector[-1].bias.requires_grad


def test_without_a_head_the_features_themselves_are_compared():
    method, batch = simclr(projector="none"), pairs()
    expected = nt_xent(*(method.encoder(view) for view in batch.views), temperature=0.2)
    assert method(batch, PROGRESS).loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_added_directions_are_twice_the_mean():
    once, twice = (simclr(add_directions=flag)(pairs(), PROGRESS) for flag in (False, True))
    assert twice.loss.item() == pytest.approx(2 * once.loss.item())
    assert twice.chance == pytest.approx(2 * math.log(11))


def test_equal_views_are_each_others_nearest():
    batch = pairs()
    batch.views[1] = batch.views[0].clone()
    assert simclr()(batch, PROGRESS).metrics["contrast_top1"] == 1


def test_without_a_memory_the_loss_is_that_of_the_first_paper():
    method, batch = simclr_v2(), pairs()
    output = method(batch, PROGRESS)
    assert output.loss.item() == pytest.approx(nt_xent(*method.embed(batch), 0.2).item(), abs=1e-6)
    assert not output.carry
    assert not any("queue" in name or "target" in name for name in method.state_dict())


def test_the_memory_adds_negatives_that_take_no_gradient():
    method, batch = simclr_v2(queue=12), pairs()
    a, b, key = method.embed(batch)
    expected = nt_xent(a, b, 0.2, method.queue.rows)
    output = method(batch, PROGRESS)
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert output.loss > nt_xent(a, b, 0.2)
    assert not key.requires_grad
    assert output.chance == pytest.approx(math.log(11 + 12))


def test_a_step_queues_the_memorys_second_views_and_moves_the_memory():
    method, batch = simclr_v2(queue=12, momentum=0.75), pairs()
    before = [p.clone() for p in method.target.parameters()]
    output = stepped(method, batch, rate=0.1)
    torch.testing.assert_close(method.queue.rows[:6], output.carry["key"])
    own = [*method.encoder.parameters(), *method.projector.parameters()]
    for old, moved, online in zip(before, method.target.parameters(), own, strict=True):
        torch.testing.assert_close(moved, 0.75 * old + 0.25 * online)
        assert not moved.requires_grad


def test_a_queue_smaller_than_a_batch_is_refused():
    with pytest.raises(ConfigError, match=r"method\.queue"):
        resolve("simclr-v2/digits", None, {"method.queue": 64})
