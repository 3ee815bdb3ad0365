"""Distillation against equations 2 and 3 of SimCLR v2."""

import pytest
import torch
from tiny_images import PROGRESS, flat_encoder, pairs
from torch import nn
from torch.nn import functional

from sslcli.config.methods.labelled import DistillConfig
from sslcli.methods.distill import Distill

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def make(**fields):
    torch.manual_seed(0)
    numbers = {"name": "distill", "num_classes": 3, "temperature": 0.5, "alpha": 1.0}
    teacher = nn.Sequential(flat_encoder(), nn.BatchNorm1d(12), nn.Linear(12, 3)).eval()
    return Distill(DistillConfig(**(numbers | fields)), flat_encoder(), teacher)


def shares(method, batch):
    """Return log-probabilities of the student and probabilities of the teacher."""
    view, temperature = batch.views[0], method.config.temperature
    student = (method.classifier(method.encoder(view)) / temperature).log_softmax(dim=1)
    return student, (method.teacher(view) / temperature).softmax(dim=1)


def test_the_loss_is_the_teachers_cross_entropy_at_the_temperature():
    method, batch = make(), pairs()
    student, teacher = shares(method, batch)
    expected = -(teacher * student).sum(dim=1).mean().item()
    assert method(batch, PROGRESS).loss.item() == pytest.approx(expected, abs=1e-6)


def test_labels_take_the_rest_of_the_weight():
    method, batch = make(alpha=0.3), pairs(labels=LABELS)
    student, teacher = shares(method, batch)
    logits = method.classifier(method.encoder(batch.views[0]))
    hard = functional.cross_entropy(logits, LABELS).item()
    expected = 0.7 * hard - 0.3 * (teacher * student).sum(dim=1).mean().item()
    assert method(batch, PROGRESS).loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_teacher_stays_as_it_is():
    method = make().train()
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    method(pairs(), PROGRESS).loss.backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(torch.equal(method.teacher.state_dict()[n], value) for n, value in before.items())
    assert not any("teacher" in name for name in method.state_dict())


def test_labels_that_are_asked_for_must_be_there():
    with pytest.raises(ValueError, match="no labels"):
        make(alpha=0.5)(pairs(), PROGRESS)
