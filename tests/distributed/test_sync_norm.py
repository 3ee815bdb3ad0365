"""BatchNorm over two processes against torch's BatchNorm in one."""

import on_ranks
import pytest
import torch
from torch import nn

from sslcli.distributed.sync_norm import SyncBatchNorm, synchronize

CPU = torch.device("cpu")


@pytest.mark.ddp
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5), (6, 3, 4, 4)])
@pytest.mark.parametrize(("affine", "momentum"), [(True, 0.1), (False, 0.1), (True, None)])
@pytest.mark.parametrize("rows", [None, [4, 2]])
def test_two_processes_normalise_as_one(two, shape, affine, momentum, rows):
    output, gradient, parameters, state = on_ranks.normalised(shape, affine, momentum, rows)
    ranks = two(on_ranks.normalised, shape, affine, momentum, rows)
    outputs, gradients, theirs, states = zip(*ranks, strict=True)
    for whole, parts in ((output, outputs), (gradient, gradients)):
        assert torch.allclose(joined(parts, rows), whole, atol=1e-6)
    for name, value in parameters.items():
        assert torch.allclose(theirs[0][name] + theirs[1][name], value, atol=1e-5)
    for name, value in state.items():
        assert torch.equal(states[0][name], states[1][name])
        assert torch.allclose(states[0][name], value, atol=1e-6), name


def joined(parts, rows):
    if rows:
        return torch.cat(parts)
    return torch.stack(parts, dim=1).flatten(0, 1)  # dealt in turn


def test_one_process_keeps_its_layers():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    assert synchronize(module, CPU) is module
    assert type(module[1]) is nn.BatchNorm1d


def test_a_layer_shares_parameters_and_buffers_with_the_one_it_replaces():
    norm = nn.BatchNorm2d(3, eps=1e-3, momentum=0.2)
    layer = SyncBatchNorm.of(norm)
    assert layer.weight is norm.weight
    assert layer.running_mean is norm.running_mean
    assert (layer.eps, layer.momentum) == (1e-3, 0.2)


def test_evaluation_uses_the_running_statistics():
    norm = nn.BatchNorm1d(3).eval()
    norm.running_mean.fill_(2.0)
    x = torch.randn(4, 3)
    assert torch.equal(SyncBatchNorm.of(norm)(x), norm(x))
