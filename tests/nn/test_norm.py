"""Split BatchNorm against plain BatchNorm, as a whole and part by part."""

import copy

import pytest
import torch
from torch import nn

from sslcli.nn.norm import SplitBatchNorm, split_batch_norm


def norm():
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2.0)
        layer.bias.uniform_(-1.0, 1.0)
    return layer


def images(size=8):
    return torch.randn(size, 3, 5, 5, generator=torch.Generator().manual_seed(1))


def test_one_part_is_batch_norm():
    plain, split = norm(), SplitBatchNorm.of(norm(), 1)
    torch.testing.assert_close(split(images()), plain(images()))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], value)
    assert split_batch_norm(plain, 1) is plain


def test_each_part_has_its_own_statistics():
    split = SplitBatchNorm.of(norm(), 4)
    expected = torch.cat([norm()(part) for part in images().chunk(4)])
    torch.testing.assert_close(split(images()), expected)


def test_running_statistics_are_the_mean_of_the_parts():
    split, parts = SplitBatchNorm.of(norm(), 2), [norm(), norm()]
    split(images())
    for layer, part in zip(parts, images().chunk(2), strict=True):
        layer(part)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(layer, name) for layer in parts]).mean(dim=0)
        torch.testing.assert_close(getattr(split, name), mean)
    assert split.num_batches_tracked == 1


def test_evaluation_is_that_of_batch_norm():
    plain = norm()
    plain(images())
    split = SplitBatchNorm.of(copy.deepcopy(plain), 4).eval()
    torch.testing.assert_close(split(images(3)), plain.eval()(images(3)))


def test_gradients_are_those_of_the_parts():
    split, parts = SplitBatchNorm.of(norm(), 2), norm()
    x, y = images().requires_grad_(), images().requires_grad_()
    split(x).pow(3).sum().backward()
    torch.cat([parts(part) for part in y.chunk(2)]).pow(3).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(split.weight.grad, parts.weight.grad)


def test_a_split_network_keeps_its_weights_and_their_names():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(norm()), nn.BatchNorm1d(4))
    before = copy.deepcopy(network.state_dict())
    split = split_batch_norm(network, 2)
    assert sum(isinstance(layer, SplitBatchNorm) for layer in split.modules()) == 2
    assert split.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in split.state_dict().items())


def test_uneven_parts_are_refused():
    with pytest.raises(ValueError, match="3 parts"):
        SplitBatchNorm.of(norm(), 3)(images())
