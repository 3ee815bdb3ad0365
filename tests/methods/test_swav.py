"""SwAV's prototypes, queue and crops, on a network that only averages pixels."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from sslcli.config.methods.clustering import SwAVConfig
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch
from sslcli.errors import ConfigError
from sslcli.methods.base import Progress
from sslcli.methods.swav import SwAV

FIELDS = {
    "name": "swav",
    "hidden": 16,
    "dim": 8,
    "prototypes": 6,
    "temperature": 0.1,
    "epsilon": 0.05,
    "iterations": 3,
    "freeze_prototypes": "2 steps",
}


class Flat(nn.Module):
    feature_dim = 3

    def forward(self, images):
        return images.mean(dim=(2, 3))


def swav(**fields):
    torch.manual_seed(0)
    return SwAV(SwAVConfig(**FIELDS | fields), Flat())


def batch(seed=0, sizes=(8, 8, 4)):
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(4, 3, size, size, generator=generator) for size in sizes]
    return Batch(views, torch.arange(4))


def at(step):
    return Progress(step, total_steps=20, steps_per_epoch=10)


def stepped(method, step, seed=0):
    """Make one step with momentum and weight decay, which move what has a gradient of zero."""
    named = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(named, lr=0.1, momentum=0.9, weight_decay=0.1)
    output = method(batch(seed), at(step))
    output.loss.backward()
    method.before_step(at(step))
    optimizer.step()
    method.after_step(at(step + 1), output.carry)
    return output


def test_prototypes_are_unit_vectors_before_and_after_a_step():
    method = swav(freeze_prototypes="0 steps")
    for _ in range(2):
        norms = method.prototypes.weight.norm(dim=1)
        torch.testing.assert_close(norms, torch.ones(6))
        stepped(method, 0)


def test_frozen_prototypes_do_not_move_and_others_do():
    method = swav()
    before = method.prototypes.weight.clone()
    stepped(method, 1)
    assert torch.equal(method.prototypes.weight, before)
    stepped(method, 2)
    assert not torch.equal(method.prototypes.weight, before)


def test_the_queue_joins_in_once_it_is_full():
    plain, queued = swav(), swav(queue=8)
    for step in range(3):
        expected, found = stepped(plain, step, seed=step), stepped(queued, step, seed=step)
        assert torch.equal(expected.loss, found.loss) == (step < 2)


def test_the_queue_begins_when_it_is_told_to():
    method = swav(queue=8, queue_from="2 steps")
    stepped(method, 1)
    assert method.queues[0].held == 0
    stepped(method, 2)
    assert method.queues[0].held == method.queues[1].held == 4
    torch.testing.assert_close(method.queues[0].rows[:4].norm(dim=1), torch.ones(4))


def test_small_crops_are_predicted_from_and_not_assigned():
    method = swav()
    with_small, without = method(batch(), at(0)), method(batch(sizes=(8, 8)), at(0))
    assert with_small.loss != without.loss
    method(batch(), at(0)).loss.backward()
    assert all(p.grad is not None for p in method.parameters())


def test_chance_is_the_logarithm_of_the_prototypes():
    method = swav()
    with torch.no_grad():
        method.prototypes.weight.copy_(method.prototypes.weight[:1].expand(6, -1))
    output = method(batch(), at(0))
    assert output.loss.item() == pytest.approx(math.log(6), abs=1e-5)
    assert output.chance == math.log(6)


def test_a_queue_smaller_than_the_batch_is_an_error_before_training():
    with pytest.raises(ConfigError, match=r"method\.queue"):
        resolve("swav/digits", None, {"train.batch_size": 1024})


def test_the_projector_runs_once_over_the_features_of_all_crops():
    """The official ResNet's forward, step by step: its BatchNorm sees large and small crops."""
    method, views = swav(), batch(sizes=(8, 8, 4, 4)).views
    encoder, projector = method.encoder, copy.deepcopy(method.projector)
    large, small = encoder(torch.cat(views[:2])), encoder(torch.cat(views[2:]))
    expected = functional.normalize(projector(torch.cat((large, small))), dim=1)[:4]
    output = method(Batch(views, torch.arange(4)), at(0))
    torch.testing.assert_close(output.embeddings, expected.detach())
    torch.testing.assert_close(method.projector[1].running_mean, projector[1].running_mean)
    assert method.projector[1].num_batches_tracked == 1
