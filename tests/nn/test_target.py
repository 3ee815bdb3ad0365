import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn

from sslcli.nn.target import average, follow, target_of


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def moved(online):
    with torch.no_grad():
        for parameter in online.parameters():
            parameter.add_(1.0)
    return online


def test_a_target_is_a_copy_without_gradient():
    online = network()
    target = target_of(online)
    assert not any(parameter.requires_grad for parameter in target.parameters())
    assert all(parameter.requires_grad for parameter in online.parameters())
    for own, theirs in zip(online.parameters(), target.parameters(), strict=True):
        assert torch.equal(own, theirs)
        assert own.data_ptr() != theirs.data_ptr()


@pytest.mark.parametrize(("momentum", "share"), [(1.0, 0.0), (0.0, 1.0), (0.75, 0.25)])
def test_a_target_moves_the_rest_of_the_momentum(momentum, share):
    online = network()
    target = target_of(online)
    before = [parameter.clone() for parameter in target.parameters()]
    follow(target, moved(online), momentum)
    for old, new in zip(before, target.parameters(), strict=True):
        torch.testing.assert_close(new, old + share)


def test_running_statistics_are_not_averaged():
    online = network()
    target = target_of(online)
    online(torch.randn(8, 3))
    follow(target, online, 0.0)
    assert torch.equal(target[1].running_mean, torch.zeros(4))


@pytest.mark.parametrize("momentum", [-0.1, 1.1])
def test_a_momentum_outside_its_range_is_an_error(momentum):
    with pytest.raises(ValueError, match="momentum"):
        follow(network(), network(), momentum)


def test_averages_hold_buffers_too_as_in_timm():
    torch.manual_seed(0)
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    mean, oracle = target_of(online), ModelEmaV3(online, decay=0.7)
    for _ in range(3):
        online(torch.randn(8, 3))
        with torch.no_grad():
            for parameter in online.parameters():
                parameter.add_(torch.randn_like(parameter))
        average(mean, online, 0.7)
        oracle.update(online)
    for name, tensor in oracle.module.state_dict().items():
        torch.testing.assert_close(mean.state_dict()[name], tensor)
