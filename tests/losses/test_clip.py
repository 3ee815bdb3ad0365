"""CLIP's loss against the spec's golden value, a slow reference and its properties."""

import math

import pytest
import torch

from sslcli.losses.contrastive import batch_info_nce, clip


def inputs():
    """Return the inputs of the spec's golden values of text, 4 by 6, float64."""
    index = torch.arange(24.0, dtype=torch.float64).view(4, 6)
    first = torch.sin(1 + index)
    return first, torch.cos(0.5 * index) + 0.3 * first


def test_golden_value():
    assert clip(*inputs(), 1 / 0.07).item() == pytest.approx(6.2856556505870085, abs=1e-12)


def test_it_is_the_mean_of_both_directions():
    image, text = inputs()
    forth, back = batch_info_nce(image, text, 0.2), batch_info_nce(text, image, 0.2)
    torch.testing.assert_close(clip(image, text, 5.0), (forth + back) / 2)
    torch.testing.assert_close(clip(text, image, 5.0), clip(image, text, 5.0))
    torch.testing.assert_close(clip(3 * image, text, 5.0), clip(image, text, 5.0))


def test_equal_similarities_are_a_guess():
    ones = torch.ones(6, 3)
    assert clip(ones, ones, 14.0).item() == pytest.approx(math.log(6), abs=1e-6)


def test_parts_of_a_batch_have_its_loss_and_gradients_on_average():
    leaves = [*(x.requires_grad_() for x in inputs()), torch.tensor(9.0).double().requires_grad_()]
    image, text, scale = leaves
    whole = clip(image, text, scale)
    own = [slice(0, 2), slice(2, 4)]
    parts = [clip(image[x], text[x], scale, x.start, among=(image, text)) for x in own]
    mean = sum(parts) / 2
    torch.testing.assert_close(mean, whole)
    expected = torch.autograd.grad(whole, leaves)
    torch.testing.assert_close(torch.autograd.grad(mean, leaves), expected)
    assert all(gradient.abs().max() > 0 for gradient in expected)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_the_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="positive"):
        clip(*inputs(), scale)
