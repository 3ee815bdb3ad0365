"""SupCon against its paper: both forms, labels, and the official code's factor."""

import math

import pytest
import torch
from tiny_images import PROGRESS, flat_encoder, pairs

from sslcli.config.methods.contrastive import SupConConfig
from sslcli.losses.contrastive import sup_con
from sslcli.methods.supcon import SupCon

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def make(**fields):
    torch.manual_seed(0)
    numbers = {"name": "supcon", "num_classes": 3, "hidden": 16, "dim": 8, "temperature": 0.1}
    return SupCon(SupConConfig(**(numbers | fields)), flat_encoder())


@pytest.mark.parametrize("form", ["out", "in"])
def test_anchors_are_both_views_and_positives_are_their_class(form):
    method, batch = make(form=form), pairs(labels=LABELS)
    z = torch.cat([method.projector(method.encoder(view)) for view in batch.views])
    expected = sup_con(z, LABELS.repeat(2), 0.1, form)
    assert method(batch, PROGRESS).loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_in_form_is_never_larger():
    batch = pairs(labels=LABELS)
    assert make(form="in")(batch, PROGRESS).loss <= make()(batch, PROGRESS).loss


def test_a_base_temperature_scales_the_loss():
    batch = pairs(labels=LABELS)
    plain, scaled = (make(base_temperature=t)(batch, PROGRESS) for t in (None, 0.07))
    assert scaled.loss.item() == pytest.approx(plain.loss.item() * 0.1 / 0.07)
    assert scaled.chance == pytest.approx(math.log(11) * 0.1 / 0.07)


def test_the_head_has_no_batch_norm():
    kinds = [type(layer).__name__ for layer in make().projector]
    assert kinds == ["Linear", "ReLU", "Linear"]


def test_a_linear_head_is_one_matrix():
    (layer,) = make(projector="linear", hidden=None).projector
    assert (layer.weight.shape, layer.bias) == ((8, flat_encoder().feature_dim), None)
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_an_mlp_needs_its_width():
    with pytest.raises(ValueError, match="hidden is missing"):
        make(hidden=None)


def test_order_of_samples_and_of_views_does_not_matter():
    method, order = make(), torch.randperm(6, generator=torch.Generator().manual_seed(0))
    batch, shuffled = pairs(labels=LABELS), pairs(labels=LABELS[order])
    shuffled.views[:] = [view[order] for view in batch.views[::-1]]
    expected = method(batch, PROGRESS).loss.item()
    assert method(shuffled, PROGRESS).loss.item() == pytest.approx(expected, abs=1e-5)


def test_data_without_labels_is_refused():
    with pytest.raises(ValueError, match="no labels"):
        make()(pairs(), PROGRESS)
