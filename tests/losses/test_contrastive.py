"""Golden values, closed forms, slow references and symmetries of the in-batch losses."""

import math

import pytest
import torch
from golden_input import golden
from torch import Tensor

from sslcli.losses.contrastive import nt_xent, sup_con

LABELS = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])


def views() -> Tensor:
    return torch.cat([golden(0.7), golden(0.9)])


def slow_sup_con(z: Tensor, labels: Tensor, temperature: float, form: str) -> float:
    z, total = z / z.norm(dim=1, keepdim=True), 0.0
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        weight = {k: math.exp(float(z[i] @ z[k]) / temperature) for k in others}
        shares = [weight[k] / sum(weight.values()) for k in others if labels[k] == labels[i]]
        if shares and form == "out":
            total -= sum(math.log(s) for s in shares) / len(shares)
        elif shares:
            total -= math.log(sum(shares) / len(shares))
    return total / len(z)


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 0.1211824997), (0.5, 0.7899281299)])
def test_nt_xent_has_its_golden_values(temperature, value):
    assert nt_xent(golden(0.7), golden(0.9), temperature).item() == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize(("form", "value"), [("out", 3.636849), ("in", 1.1035677030)])
def test_sup_con_has_its_golden_values(form, value):
    assert sup_con(views(), LABELS, 0.1, form).item() == pytest.approx(value, abs=1e-6)


def test_orthogonal_views_are_a_guess_among_the_rest():
    eye = torch.eye(8)
    assert nt_xent(eye[:4], eye[4:], 0.5).item() == pytest.approx(math.log(7), abs=1e-6)
    same = nt_xent(eye[:4], eye[:4], 0.5).item()
    assert same == pytest.approx(math.log(1 + 6 * math.exp(-2)), abs=1e-6)


@pytest.mark.parametrize("form", ["out", "in"])
@pytest.mark.parametrize("labels", [LABELS, torch.tensor([0, 1, 2, 3, 4, 4, 4, 5])])
def test_sup_con_equals_a_slow_reference(form, labels):
    value = sup_con(views(), labels, 0.2, form).item()
    assert value == pytest.approx(slow_sup_con(views(), labels, 0.2, form), abs=1e-10)


def test_sup_con_with_a_label_an_image_is_nt_xent():
    own = torch.arange(4).repeat(2)
    for form in ("out", "in"):
        expected = nt_xent(golden(0.7), golden(0.9), 0.3).item()
        assert sup_con(views(), own, 0.3, form).item() == pytest.approx(expected, abs=1e-12)


def test_the_in_form_is_never_larger():
    assert sup_con(views(), LABELS, 0.1, "in") <= sup_con(views(), LABELS, 0.1, "out")


@pytest.mark.parametrize("form", ["out", "in"])
def test_an_anchor_without_positives_leaves_a_finite_gradient(form):
    z = views().requires_grad_()
    sup_con(z, torch.arange(8), 0.1, form).backward()
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_scale_rotation_order_and_swapped_views_change_nothing():
    a, b = golden(0.7), golden(0.9)
    rotation = torch.linalg.qr(
        torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double()
    )[0]
    order = torch.tensor([2, 0, 3, 1])
    expected = nt_xent(a, b, 0.1).item()
    for x, y in ((3 * a, 3 * b), (a @ rotation, b @ rotation), (a[order], b[order]), (b, a)):
        assert nt_xent(x, y, 0.1).item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        nt_xent(golden(0.7), golden(0.9), temperature)
    with pytest.raises(ValueError, match="temperature"):
        sup_con(views(), LABELS, temperature)
