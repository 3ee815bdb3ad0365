"""Split and dual BatchNorm against plain BatchNorm, part by part and branch by branch."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from sslcli.nn.norm import (
    AuxiliaryNorms,
    SplitBatchNorm,
    auxiliary,
    dual_batch_norm,
    norm2d,
    split_batch_norm,
    without_auxiliary,
)


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


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5),
        nn.BatchNorm1d(5),
    ).double()  # fmt: skip


def clean_and_attacked():
    x = images().double()
    return x, 3 * x.flip(0) + 1


def test_two_branches_equal_two_plain_networks():
    dual, main, other = dual_batch_norm(network()), network(), network()
    clean, attacked = clean_and_attacked()
    found = dual(clean)
    with auxiliary(dual):
        found_attacked = dual(attacked)
    assert torch.equal(found, main(clean))
    assert torch.equal(found_attacked, other(attacked))
    (found.square().sum() + found_attacked.square().sum()).backward()
    (main(clean).square().sum() + other(attacked).square().sum()).backward()
    shared = main[0].weight.grad + other[0].weight.grad
    torch.testing.assert_close(dual.network[0].weight.grad, shared)
    torch.testing.assert_close(dual.network[1].weight.grad, main[1].weight.grad)
    own = next(dual.auxiliary.parameters())
    torch.testing.assert_close(own.grad, other[1].weight.grad)


def test_running_statistics_are_those_of_the_branchs_own_images():
    dual, main, other = dual_batch_norm(network()), network(), network()
    clean, attacked = clean_and_attacked()
    dual(clean), main(clean), other(attacked)
    with auxiliary(dual):
        dual(attacked)
    for name, value in main.state_dict().items():
        assert torch.equal(dual.network.state_dict()[name], value), name
    dual.eval(), other.eval()
    with auxiliary(dual):
        assert torch.equal(dual(clean), other(clean))
    assert torch.equal(dual(clean), main.eval()(clean))


def test_without_branches_a_network_is_torchvisions():
    torch.manual_seed(0)
    model = nn.Sequential(dual_batch_norm(torchvision.models.resnet18()), nn.Identity())
    x = torch.randn(2, 3, 32, 32)
    with auxiliary(model):
        model(x)
    expected = model.eval()(x)
    assert any("aux" in name for name in model.state_dict())
    plain = without_auxiliary(model)
    assert not any("aux" in name for name in plain.state_dict())
    fresh = torchvision.models.resnet18().eval()
    fresh.load_state_dict(plain[0].state_dict(), strict=True)
    assert torch.equal(fresh(x), expected)


def test_several_branches_each_have_their_own():
    dual = dual_batch_norm(network(), branches=2, momentum=0.5)
    clean, attacked = clean_and_attacked()
    with auxiliary(dual, 1):
        dual(attacked)
        with auxiliary(dual):
            dual(clean)
    states = [dual.network[1], *(branch[0] for branch in dual.auxiliary.branches)]
    assert [int(each.num_batches_tracked) for each in states] == [0, 1, 1]
    assert [each.momentum for each in states] == [0.1, 0.5, 0.5]
    mean = dual.network[0](attacked).mean(dim=(0, 2, 3))
    torch.testing.assert_close(states[2].running_mean, 0.5 * mean)


def test_an_error_inside_leaves_the_main_branch_on():
    dual = dual_batch_norm(network())
    weight = dual.network[1].weight
    with auxiliary(dual):
        assert dual.network[1].weight is not weight
    with pytest.raises(RuntimeError), auxiliary(dual):
        dual(torch.zeros(1))
    assert dual.network[1].weight is weight


@pytest.mark.parametrize("split_first", [True, False])
def test_branches_of_a_split_norm_are_split(split_first):
    plain, (clean, attacked) = network(), clean_and_attacked()
    net = split_batch_norm(plain, 2) if split_first else plain
    norms = AuxiliaryNorms(net)
    net = net if split_first else split_batch_norm(net, 2)
    expected = split_batch_norm(network(), 2)
    net(clean)
    with norms.on(net):
        found = net(attacked)
    assert torch.equal(found, expected(attacked))
    assert torch.equal(norms.branches[0][0].running_mean, expected[1].running_mean)


def test_a_layer_with_an_activation_keeps_it():
    from timm.layers import BatchNormAct2d

    net = nn.Sequential(nn.Conv2d(3, 4, 1), BatchNormAct2d(4))
    dual = dual_batch_norm(net)
    with auxiliary(dual):
        assert dual(images()).min() == 0


def test_branches_are_used_by_compiled_code():
    torch._dynamo.reset()
    dual, plain = dual_batch_norm(network()), dual_batch_norm(network())
    compiled = torch.compile(dual, backend="aot_eager")
    clean, attacked = clean_and_attacked()
    for _ in range(2):
        for net, call in ((dual, compiled), (plain, plain)):
            loss = call(clean).square().sum()
            with auxiliary(net):
                loss = loss + call(attacked).pow(3).sum()
            loss.backward()
    torch._dynamo.reset()
    for (name, value), expected in zip(
        dual.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(value, expected, msg=name)
    for (name, found), expected in zip(dual.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, msg=name)


def test_a_network_without_batch_norm_is_refused():
    with pytest.raises(ValueError, match="no BatchNorm"):
        dual_batch_norm(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="see dual_batch_norm"), auxiliary(network()):
        pass


def test_layer_norm_is_over_channels_and_places_of_each_sample():
    x = torch.randn(3, 4, 5, 5)
    expected = nn.functional.layer_norm(x, x.shape[1:])
    torch.testing.assert_close(norm2d("layer", 4)(x), expected)
    assert isinstance(norm2d("none", 4), nn.Identity)
