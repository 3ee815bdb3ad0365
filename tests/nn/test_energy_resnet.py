import torch
from torch import nn

from sslcli.nn.architectures import IGEBM
from sslcli.nn.energy_resnet import ClassAffine, EnergyResNet


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_parameters_of_the_small_network_are_golden():
    plain = EnergyResNet(IGEBM["igebm-small"])
    assert count(plain, nn.Linear(plain.feature_dim, 1)) == 5_134_593
    bare = EnergyResNet(IGEBM["igebm-small"], conv_bias=False)
    affine = ClassAffine(10, bare.block_widths)
    assert count(bare, affine, nn.Linear(bare.feature_dim, 1)) == 5_183_233


def test_a_fresh_affine_changes_nothing():
    torch.manual_seed(0)
    network, x = EnergyResNet(IGEBM["igebm-small"], width=8), torch.rand(2, 3, 8, 8)
    affine = ClassAffine(10, network.block_widths)
    torch.testing.assert_close(network(x, affine(torch.tensor([0, 9]))), network(x))


def test_classes_have_gains_of_their_own():
    torch.manual_seed(0)
    network, x = (
        EnergyResNet(IGEBM["igebm-small"], width=8),
        torch.rand(1, 3, 8, 8).repeat(2, 1, 1, 1),
    )
    affine = ClassAffine(2, network.block_widths)
    with torch.no_grad():
        affine.tables[0][1, 0] = 2.0
        network.blocks[0].conv2.weight.normal_()
    first, second = network(x, affine(torch.tensor([0, 1])))
    assert not torch.allclose(first, second)


def test_features_are_sums_over_the_map():
    network = EnergyResNet(IGEBM["igebm-small"], width=8)
    assert network(torch.rand(2, 3, 16, 16)).shape == (2, 16)
    assert len(EnergyResNet(IGEBM["igebm-large"], width=8).block_widths) == 9
