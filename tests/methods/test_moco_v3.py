"""MoCo v3 against its paper, its ablations and a slow reference."""

import copy

import pytest
import torch
from torch.nn import functional

from sslcli.config.encoder import EncoderConfig
from sslcli.config.methods.transformers import MoCoV3Config
from sslcli.config.optimizers import AdamConfig
from sslcli.data.batch import Batch
from sslcli.engine.optim import build_optimizer
from sslcli.errors import ConfigError
from sslcli.methods.base import Progress
from sslcli.methods.moco_v3 import MoCoV3
from sslcli.nn.encoders import build_encoder

PROGRESS = Progress(step=5, total_steps=10, steps_per_epoch=5)
VIT = {"name": "vit-2-16-2", "patch_size": 4, "positions": "sin-cos", "init": "xavier"}


def make(encoder=None, **fields):
    torch.manual_seed(0)
    numbers = {"name": "moco-v3", "projector_layers": 2, "hidden": 12, "dim": 6}
    numbers |= {"temperature": 0.2, "momentum": 0.9}
    network = build_encoder(EncoderConfig(**(encoder or {"name": "resnet8", "width": 4})), 8)
    return MoCoV3(MoCoV3Config(**(numbers | fields)), network)


def batch(size=6):
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(size, 3, 8, 8, generator=generator) for _ in range(2)]
    return Batch(views, torch.arange(size))


def test_loss_is_the_papers_algorithm():
    method = make()
    q1, q2, k1, k2 = (functional.normalize(x, dim=1) for x in method.embed(batch()))
    expected = 0.0
    for queries, keys in ((q1, k2), (q2, k1)):
        for own, query in enumerate(queries):
            scores = keys @ query / 0.2
            expected += 2 * 0.2 * (scores.logsumexp(0) - scores[own]).item() / len(queries)
    output = method(batch(), PROGRESS)
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)


def test_keys_are_the_targets_projections_without_gradient():
    method = make()
    q1, _, k1, _ = method.embed(batch())
    assert q1.requires_grad
    assert not k1.requires_grad
    assert not any(p.requires_grad for p in method.target.parameters())
    without = method.projector(method.encoder(batch().views[0]))  # the target starts as a copy
    torch.testing.assert_close(k1, without.detach())


def test_order_of_views_does_not_matter():
    method = make()
    first = method(batch(), PROGRESS).loss
    swapped = Batch(batch().views[::-1], batch().rows)
    torch.testing.assert_close(method(swapped, PROGRESS).loss, first)


@pytest.mark.parametrize(("step", "momentum"), [(0, 0.9), (5, 0.95), (10, 1.0)])
def test_momentum_rises_to_one(step, momentum):
    method = make()
    before = copy.deepcopy(method.target)
    with torch.no_grad():
        method.projector[0].weight.add_(1.0)
    method.after_step(Progress(step, 10, 5), {})
    moved = method.target[1][0].weight - before[1][0].weight
    assert moved.mean().item() == pytest.approx(1 - momentum, abs=1e-6)


def test_heads_have_the_codes_layers():
    resnet, vit = make(), make(VIT, projector_layers=3, predictor_output_norm=True)
    norms = ["Linear", "BatchNorm1d", "ReLU"]
    for method, layers in ((resnet, 2), (vit, 3)):
        kinds = [type(layer).__name__ for layer in method.projector]
        assert kinds == norms * (layers - 1) + norms[:2]
        assert not method.projector[-1].affine
    assert [type(layer).__name__ for layer in resnet.predictor] == [*norms, "Linear"]
    assert not vit.predictor[-1].affine
    linears = [m for m in vit.predictor if isinstance(m, torch.nn.Linear)]
    assert all(layer.bias is None for layer in linears)


def test_frozen_patches_stay_bit_identical_under_adamw_with_decay():
    method = make(VIT, freeze_patches=True)
    before = method.encoder.patch_embed.proj.weight.clone()
    settings = {"base_lr": 0.1, "lr_scaling": "none", "weight_decay": 0.1}
    optimizer = build_optimizer(method.param_groups(), AdamConfig(name="adamw", **settings), 6)
    method(batch(), PROGRESS).loss.backward()
    optimizer.step()
    assert torch.equal(method.encoder.patch_embed.proj.weight, before)
    assert method.encoder.cls_token.grad.abs().sum() > 0


def test_an_encoder_without_patches_cannot_freeze_them():
    with pytest.raises(ConfigError, match="no patches"):
        make(freeze_patches=True)


def test_without_predictor_the_projection_is_the_query():
    method = make(predictor="none")
    q1, _, k1, _ = method.embed(batch())
    torch.testing.assert_close(q1.detach(), k1)
