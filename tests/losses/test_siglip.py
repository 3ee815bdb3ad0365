"""SigLIP's loss against a slow reference, values worked out by hand, and its properties."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from sslcli.losses.contrastive import siglip


def inputs():
    """Return images and texts, 5 by 7 each, in float64."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 5, 7, dtype=torch.float64, generator=generator)


def slow(image, text, scale, bias):
    """Add up the pairs one by one."""
    total = 0.0
    for i, x in enumerate(image):
        for j, y in enumerate(text):
            logit = scale * cosine_similarity(x, y, dim=0).item() + bias
            total += math.log1p(math.exp(-logit if i == j else logit))
    return total / len(image)


@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (3.0, 0.5)])
def test_it_equals_a_slow_reference(scale, bias):
    image, text = inputs()
    assert siglip(image, text, scale, bias).item() == pytest.approx(slow(image, text, scale, bias))
    torch.testing.assert_close(
        siglip(4 * image, text, scale, bias), siglip(image, text, scale, bias)
    )


def test_orthogonal_pairs_at_the_start_cost_what_the_paper_begins_with():
    eye = torch.eye(4)
    wrong = 3 * math.log1p(math.exp(-10))
    assert siglip(eye, eye, 10.0, -10.0).item() == pytest.approx(math.log(2) + wrong, rel=1e-5)
    assert siglip(eye, eye.roll(1, 0), 1.0, 0.0).item() == pytest.approx(
        3 * math.log(2) + math.log1p(math.e), rel=1e-5
    )


def test_zero_logits_are_a_guess():
    image, text = torch.eye(6)[:3], torch.eye(6)[3:]
    assert siglip(image, text, 14.0, 0.0).item() == pytest.approx(3 * math.log(2), rel=1e-6)


def test_parts_of_a_batch_have_its_loss_and_gradients_on_average():
    start = (*inputs(), torch.tensor(9.0).double(), torch.tensor(-2.0).double())
    leaves = [each.detach().clone().requires_grad_() for each in start]
    image, text, scale, bias = leaves
    whole = siglip(image, text, scale, bias)
    own = [slice(0, 2), slice(2, 5)]
    parts = [siglip(image[x], text[x], scale, bias, x.start, among=text) for x in own]
    mean = sum(part * (x.stop - x.start) for part, x in zip(parts, own, strict=True)) / 5
    torch.testing.assert_close(mean, whole)
    expected = torch.autograd.grad(whole, leaves)
    torch.testing.assert_close(torch.autograd.grad(mean, leaves), expected)
    assert all(gradient.abs().max() > 0 for gradient in expected)


def test_half_precision_is_compared_in_float32():
    image, text = (each.bfloat16() for each in inputs())
    loss = siglip(image, text, 100.0, -10.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(slow(image.double(), text.double(), 100.0, -10.0), rel=1e-4)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_the_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="positive"):
        siglip(*inputs(), scale, -10.0)
