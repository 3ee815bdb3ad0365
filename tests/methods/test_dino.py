"""DINO against its paper, its ablations and a slow reference."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sslcli.config.encoder import EncoderConfig
from sslcli.config.methods.transformers import DINOConfig
from sslcli.config.optimizers import AdamConfig, SGDConfig
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch
from sslcli.engine.accumulation import joined
from sslcli.engine.optim import build_optimizer
from sslcli.engine.schedule import weight_decay
from sslcli.methods.base import Progress
from sslcli.methods.dino import DINO
from sslcli.nn.encoders import build_encoder

PROGRESS = Progress(step=0, total_steps=10, steps_per_epoch=5)
VIT = {"name": "vit-2-16-2", "patch_size": 2, "drop_path": 0.5}
NUMBERS = {
    "name": "dino", "hidden": 12, "bottleneck": 6, "prototypes": 20, "momentum": 0.9,
    "freeze_prototypes": "1 epochs", "center_momentum": 0.9,
    "student_temperature": 0.1, "teacher_temperature": 0.04,
}  # fmt: skip


def make(encoder=None, **fields):
    torch.manual_seed(0)
    network = build_encoder(EncoderConfig(**(encoder or {"name": "resnet8", "width": 4})), 8)
    return DINO(DINOConfig(**(NUMBERS | fields)), network)


def batch(size=6, sides=(8, 8, 4, 4)):
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(size, 3, side, side, generator=generator) for side in sides]
    return Batch(views, torch.arange(size))


def moved_prototypes(method, step, optimizer):
    """Return how far a second step moves the prototypes, momentum and decay at work."""
    optimizer = build_optimizer(method.param_groups(), optimizer, 6)
    progress = Progress(step, 10, 5)
    before = method.student[1].prototypes.weight.clone()
    for _ in range(2):
        optimizer.zero_grad()
        method(batch(), progress).loss.backward()
        method.before_step(progress)
        optimizer.step()
    return (method.student[1].prototypes.weight - before).abs().max().item()


@pytest.mark.parametrize(
    "optimizer",
    [
        SGDConfig(name="sgd", momentum=0.9, base_lr=0.1, lr_scaling="none", weight_decay=0.1),
        AdamConfig(name="adamw", base_lr=0.1, lr_scaling="none", weight_decay=0.1),
    ],
)
def test_frozen_prototypes_are_bit_identical_and_then_move(optimizer):
    assert moved_prototypes(make(), 4, optimizer) == 0
    assert moved_prototypes(make(), 5, optimizer) > 0


def test_teacher_sees_two_views_and_the_student_all():
    method, seen = make(), {}
    for name, network in (("teacher", method.encoder), ("student", method.student[0])):
        hook = seen.setdefault(name, [])
        network.register_forward_pre_hook(lambda _, x, hook=hook: hook.append(tuple(x[0].shape)))
    output = method(batch(), PROGRESS)
    assert seen["teacher"] == [(12, 3, 8, 8)]
    assert seen["student"] == [(12, 3, 8, 8), (12, 3, 4, 4)]
    assert output.chance == pytest.approx(torch.tensor(20.0).log().item())


def test_a_heads_batch_norm_sees_the_features_of_all_views_at_once():
    method, seen = make(head_norm=True), []
    for head in (method.head, method.student[1]):
        head.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    method(batch(), PROGRESS)
    assert seen == [12, 24]
    norm = next(m for m in method.student[1].modules() if isinstance(m, nn.BatchNorm1d))
    assert norm.num_batches_tracked == 1


def test_teacher_moves_only_by_its_average_of_the_student():
    method = make()
    teacher = (*method.encoder.parameters(), *method.head.parameters())
    assert not any(parameter.requires_grad for parameter in teacher)
    with torch.no_grad():
        method.student[1].prototypes.weight.add_(1.0)
    before = method.head.prototypes.weight.clone()
    output = method(batch(), PROGRESS)
    method.after_step(Progress(5, 10, 5), output.carry)
    moved = method.head.prototypes.weight - before
    assert moved.mean().item() == pytest.approx(0.05, abs=1e-6)  # momentum 0.95 at half-way


def test_centre_after_one_step_is_a_tenth_of_the_raw_mean():
    method = make()
    with torch.no_grad():
        views = torch.cat(batch().views[:2])
        mean = method.head(method.encoder(views)).mean(dim=0)
    output = method(batch(), PROGRESS)
    assert not method.center.any()
    method.after_step(PROGRESS, output.carry)
    torch.testing.assert_close(method.center, 0.1 * mean)


def test_without_centring_the_centre_stays_zero():
    method = make(centring=False)
    method.after_step(PROGRESS, method(batch(), PROGRESS).carry)
    assert not method.center.any()


@pytest.mark.parametrize(
    ("fields", "step", "expected"),
    [
        ({}, 3, 0.04),
        ({"sharpening": False}, 3, 0.1),
        ({"teacher_temperature_start": 0.02, "teacher_temperature_warmup": "1 epochs"}, 0, 0.02),
        ({"teacher_temperature_start": 0.02, "teacher_temperature_warmup": "4 steps"}, 2, 0.03),
        ({"teacher_temperature_start": 0.02, "teacher_temperature_warmup": "1 epochs"}, 7, 0.04),
        ({"teacher_temperature_start": 0.02, "teacher_temperature_warmup": "9 epochs"}, 9, 0.024),
    ],
)
def test_the_teachers_temperature_rises_with_the_step(fields, step, expected):
    def loss(step=0, **fields):
        return make(**fields)(batch(), Progress(step, 10, 5)).loss.item()

    at_this_one = loss(teacher_temperature=expected)
    assert loss(step, **fields) == pytest.approx(at_this_one, rel=1e-6)
    assert loss(teacher_temperature=1.01 * expected) != pytest.approx(at_this_one, rel=1e-6)


def test_prototypes_are_directions_in_float32_unless_their_lengths_are_learned():
    method, features = make(), torch.randn(4, 16)
    head = method.student[1]
    expected = head(features)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        head.prototypes.weight.mul_(3.0)
        assert head.prototypes(torch.randn(4, 6)).dtype == torch.float32
    torch.testing.assert_close(head(features), expected)
    assert expected.abs().max() <= 1
    lengths = make(normed_prototypes=False).student[1].prototypes.length
    assert torch.equal(lengths, torch.ones(20, 1))
    assert lengths.requires_grad


def test_only_the_student_drops_paths():
    method = make(VIT)
    images = batch().views[0]
    assert torch.equal(method.encoder(images), method.encoder(images))
    assert not torch.equal(method.student[0](images), method.student[0](images))


def test_head_norm_stands_behind_the_hidden_layers():
    kinds = [type(layer) for layer in make(head_norm=True).head.mlp]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.GELU] * 2 + [nn.Linear]


def test_samples_in_another_order_give_the_same_loss():
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = Batch([view[order] for view in batch().views], order)
    first, other = (make()(each, PROGRESS).loss for each in (batch(), shuffled))
    torch.testing.assert_close(other, first)


def test_the_papers_decay_rises_to_its_end_by_a_cosine():
    config = resolve("dino/imagenet").config.optimizer
    assert weight_decay(config, 0, 100) == pytest.approx(0.04)
    assert weight_decay(config, 50, 100) == pytest.approx(0.22)
    assert weight_decay(config, 100, 100) == pytest.approx(0.4)


def test_centre_of_uneven_parts_is_that_of_the_whole_batch():
    at_once, in_parts, whole = make(VIT), make(VIT), batch()
    parts = [replace(whole, views=[v[own] for v in whole.views]) for own in (slice(5), slice(5, 6))]
    outputs = [in_parts(part, PROGRESS) for part in parts]
    in_parts.after_step(PROGRESS, joined(outputs, [10 / 6, 2 / 6]).carry)
    at_once.after_step(PROGRESS, at_once(whole, PROGRESS).carry)
    assert at_once.center.abs().sum() > 0
    torch.testing.assert_close(in_parts.center, at_once.center)
