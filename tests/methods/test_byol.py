"""BYOL against its paper and its ablations."""

import pytest
import torch
from golden_input import golden
from tiny_images import PROGRESS, flat_encoder, pairs
from torch import nn
from torch.nn.functional import normalize

from sslcli.config.methods.siamese import BYOLConfig
from sslcli.data.batch import Batch
from sslcli.methods.base import Progress
from sslcli.methods.byol import BYOL


def make(**fields):
    torch.manual_seed(0)
    numbers = {"name": "byol", "projector_hidden": 16, "dim": 8, "predictor_hidden": 16}
    return BYOL(BYOLConfig(**(numbers | {"momentum": 0.9} | fields)), flat_encoder())


def test_loss_is_the_distance_of_both_directions():
    method = make()
    z1, z2 = (method.projector(method.encoder(view)) for view in pairs().views)
    t1, t2 = (normalize(method.target(view)) for view in pairs().views)
    q1, q2 = (normalize(method.predictor(z)) for z in (z1, z2))
    expected = ((q1 - t2).square().sum(1) + (q2 - t1).square().sum(1)).mean()
    assert method(pairs(), PROGRESS).loss.item() == pytest.approx(expected.item(), abs=1e-5)


class Given(nn.Module):
    """An encoder and projector that answer with what they are told."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = answers

    def forward(self, view):
        return self.answers[int(view.flatten()[0])]


def answering(z1, z2, target1, target2):
    """A method without predictor whose networks give these vectors for the two views."""
    method = make(predictor="none")
    method.encoder, method.projector = nn.Identity(), Given(z1, z2)
    method.target = Given(target1, target2)
    views = [torch.full((len(z1), 1), index) for index in range(2)]
    return method(Batch(views, torch.arange(len(z1))), PROGRESS).loss.item()


def test_loss_has_its_golden_value_and_its_range():
    a, b = golden(0.7), golden(0.9)
    assert answering(a, a, b, b) == pytest.approx(2 * 0.1487400339, abs=1e-9)
    x, y = torch.eye(2)
    assert answering(*(v.expand(4, 2) for v in (x, x, x, x))) == pytest.approx(0)  # collapse
    assert answering(*(v.expand(4, 2) for v in (x, x, y, y))) == pytest.approx(4)
    assert answering(*(v.expand(4, 2) for v in (x, x, -x, -x))) == pytest.approx(8)


def test_heads_have_the_official_layers_and_the_target_no_predictor():
    method = make()
    for head in (method.projector, method.predictor, method.target[1]):
        kinds = [type(layer).__name__ for layer in head]
        assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert head[0].bias is not None
        assert head[-1].bias is None
    assert len(method.target) == 2


def test_target_takes_no_gradient_and_no_group_holds_it():
    method = make()
    method(pairs(), PROGRESS).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    named = [name for group in method.param_groups() for name, _ in group.named]
    assert not any(name.startswith("target.") for name in named)


def test_target_starts_as_a_copy_or_as_another_draw():
    for init, is_same in (("copy", True), ("independent", False)):
        method = make(target_init=init)
        assert torch.equal(method.encoder[1].weight, method.target[0][1].weight) is is_same


@pytest.mark.parametrize(("step", "momentum"), [(0, 0.9), (5, 0.95), (10, 1.0)])
def test_target_follows_with_a_momentum_that_rises_to_one(step, momentum):
    method = make()
    old, online = method.target[0][1].weight.clone(), method.encoder[1].weight
    method.after_step(Progress(step, 10, 5), {})
    expected = momentum * old + (1 - momentum) * online
    assert torch.allclose(method.target[0][1].weight, expected, atol=1e-7)


def test_target_normalises_by_its_own_batch_and_keeps_its_own_buffers():
    method = make(momentum=0.0, momentum_end=0.0)
    method(pairs(), PROGRESS)
    own = method.target[1][1].running_mean.clone()
    method.after_step(PROGRESS, {})
    assert torch.equal(method.target[1][1].running_mean, own)
    assert not torch.equal(own, method.projector[1].running_mean)
    assert method.target[1][1].training


@pytest.mark.parametrize(("kind", "tensors"), [("mlp", 5), ("linear", 1), ("none", 0)])
def test_predictors_of_the_ablation(kind, tensors):
    method = make(predictor=kind)
    assert len(list(method.predictor.parameters())) == tensors
    assert method(pairs(), PROGRESS).loss.isfinite()


def test_without_stop_gradient_both_branches_learn_and_there_is_no_target():
    method = make(stop_gradient=False, predictor="none")
    assert method.target is None
    z = [method.projector(method.encoder(view)) for view in pairs().views]
    loss = method(pairs(), PROGRESS).loss
    distance = 2 * (normalize(z[0]) - normalize(z[1])).square().sum(1).mean()
    found = torch.autograd.grad(loss, method.encoder[1].weight)[0]
    expected = torch.autograd.grad(distance, method.encoder[1].weight)[0]
    assert torch.allclose(found, expected, atol=1e-5)


def test_order_of_samples_and_of_views_does_not_matter():
    method = make()
    first = method(pairs(), PROGRESS).loss
    order = torch.randperm(6)
    shuffled = Batch([view[order] for view in pairs().views[::-1]], order)
    assert torch.allclose(first, method(shuffled, PROGRESS).loss, atol=1e-5)
