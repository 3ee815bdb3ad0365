import torch
from torch import nn

from sslcli.nn.spectral import SpectralConv2d, advance_spectral_norms, dividing_once


def largest_singular_value(layer):
    return torch.linalg.matrix_norm(layer.normalized().detach().flatten(1), 2).item()


def advanced(layer, times=50):
    for _ in range(times):
        layer.advance()
    return layer


def test_the_largest_singular_value_becomes_one():
    torch.manual_seed(0)
    for kernel in (1, 3):
        layer = advanced(SpectralConv2d(8, 8, kernel))
        assert abs(largest_singular_value(layer) - 1) < 0.02


def test_a_growing_convolution_starts_at_nothing_and_stops_at_one():
    torch.manual_seed(0)
    layer = advanced(SpectralConv2d(8, 8, 3, growing=True))
    assert largest_singular_value(layer) < 1e-6
    for scale, bound in ((1e9, 0.5), (1e12, 1.02)):
        grown = advanced(SpectralConv2d(8, 8, 3, growing=True))
        with torch.no_grad():
            grown.weight.mul_(scale)
        assert largest_singular_value(advanced(grown)) <= max(bound, 1.02)


def test_forward_does_not_advance():
    layer = SpectralConv2d(3, 4, 3)
    before = layer.left.clone()
    layer(torch.randn(1, 3, 4, 4))
    assert torch.equal(layer.left, before)
    advance_spectral_norms(nn.Sequential(layer))
    assert not torch.equal(layer.left, before)


def test_the_norm_is_taken_in_float32_under_autocast():
    layer = SpectralConv2d(3, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.normalized(), layer.normalized().float())
        inside = layer.normalized()
    torch.testing.assert_close(inside, layer.normalized(), rtol=0, atol=0)


def test_the_gradient_leaves_the_norm_alone():
    """W / sigma does not change when W is scaled, so its gradient is orthogonal to W."""
    torch.manual_seed(0)
    layer = advanced(SpectralConv2d(3, 4, 3))
    (layer.normalized() * torch.randn(4, 3, 3, 3)).sum().backward()
    assert abs((layer.weight.grad * layer.weight).sum().item()) < 1e-4


def test_weights_divided_once_give_the_same_and_are_let_go():
    torch.manual_seed(0)
    layer, x = SpectralConv2d(3, 4, 3), torch.randn(2, 3, 4, 4, requires_grad=True)
    expected = torch.autograd.grad(layer(x).square().sum(), x)[0]
    with dividing_once(layer):
        for _ in range(2):
            assert torch.equal(torch.autograd.grad(layer(x).square().sum(), x)[0], expected)
    assert layer.held is None
