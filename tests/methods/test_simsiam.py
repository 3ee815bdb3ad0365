"""SimSiam against its paper, its ablations and a slow reference."""

import pytest
import torch
from tiny_images import PROGRESS, flat_encoder, pairs
from torch import nn
from torch.nn import functional

from sslcli.config.methods.siamese import SimSiamConfig
from sslcli.data.batch import Batch
from sslcli.methods.simsiam import SimSiam


def make(**fields):
    torch.manual_seed(0)
    numbers = {"name": "simsiam", "projector_layers": 2, "dim": 8, "predictor_hidden": 4}
    return SimSiam(SimSiamConfig(**(numbers | fields)), flat_encoder())


def test_loss_is_the_papers_algorithm():
    method = make()
    output = method(pairs(), PROGRESS)
    z1, z2 = (method.projector(method.encoder(view)) for view in pairs().views)
    p1, p2 = method.predictor(z1), method.predictor(z2)
    expected = 0.0
    for p, z in ((p1, z2), (p2, z1)):
        for row, target in zip(p, z, strict=True):
            expected -= (row @ target / row.norm() / target.norm()).item() / len(p) / 2
    assert output.loss.item() == pytest.approx(expected, abs=1e-6)
    assert -1 <= output.loss.item() <= 1


def projections(method):
    """Return the projections of both views, after the gradient of the loss has reached them."""
    found = []

    def keep(module, inputs, output):
        output.retain_grad()
        found.append(output)

    method.projector.register_forward_hook(keep)
    method(pairs(), PROGRESS).loss.backward()
    return found


def test_projection_is_detached_and_prediction_is_not():
    z1, z2 = projections(make(symmetric=False))
    assert z1.grad.abs().sum() > 0
    assert z2.grad is None


def test_without_stop_gradient_the_target_learns_too():
    _, z2 = projections(make(symmetric=False, stop_gradient=False))
    assert z2.grad.abs().sum() > 0


def test_stop_gradient_halves_the_gradient_of_equal_branches():
    """With p = z the symmetric loss has half the direct cosine's gradient (spec 14)."""
    gradients = []
    for stop in (True, False):
        method = make(predictor="none", stop_gradient=stop)
        method(pairs(), PROGRESS).loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in method.parameters()]))
    assert torch.allclose(2 * gradients[0], gradients[1], atol=1e-6)


def test_heads_have_the_papers_layers():
    method = make(projector_layers=3)
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert not method.projector[-1].affine
    assert method.projector[-2].bias is None
    kinds = [type(layer).__name__ for layer in method.predictor]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert method.predictor[-1].bias is not None


@pytest.mark.parametrize(
    ("placement", "norms"), [("none", 0), ("hidden", 2), ("default", 3), ("all", 4)]
)
def test_batch_norm_placements_of_table_3(placement, norms):
    method = make(batch_norm=placement)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in method.modules()) == norms


def test_predictor_keeps_its_rate_and_is_one_group():
    body, predictor = make().param_groups()
    assert predictor.constant_lr
    assert not body.constant_lr
    assert all(name.startswith("predictor.") for name, _ in predictor.named)
    assert len(body.named) + len(predictor.named) == len(list(make().parameters()))


def test_fixed_predictor_is_not_trained():
    method = make(predictor="fixed")
    assert [group.constant_lr for group in method.param_groups()] == [False]
    assert not any(p.requires_grad for p in method.predictor.parameters())


def test_cross_entropy_similarity_matches_its_formula():
    method = make(similarity="cross-entropy", symmetric=False, predictor="none")
    z1, z2 = (method.projector(method.encoder(view)) for view in pairs().views)
    expected = -(functional.softmax(z2, 1) * functional.log_softmax(z1, 1)).sum(1).mean()
    assert method(pairs(), PROGRESS).loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_asymmetric_loss_is_one_direction():
    method = make(symmetric=False)
    z1, z2 = (method.projector(method.encoder(view)) for view in pairs().views)
    expected = -functional.cosine_similarity(method.predictor(z1), z2).mean()
    assert method(pairs(), PROGRESS).loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_order_of_samples_and_of_views_does_not_matter():
    method = make()
    first = method(pairs(), PROGRESS).loss
    order = torch.randperm(6)
    shuffled = Batch([view[order] for view in pairs().views[::-1]], order)
    assert torch.allclose(first, method(shuffled, PROGRESS).loss, atol=1e-6)
