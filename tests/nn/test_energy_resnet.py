import pytest
import torch
from torch import nn

from sslcli.config.architectures import IGEBM
from sslcli.config.encoder import EncoderConfig
from sslcli.errors import ConfigError
from sslcli.nn.encoders import build_encoder
from sslcli.nn.energy_resnet import ClassAffine, EnergyBlock, EnergyResNet


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


def openai(name="igebm-small", width=8, **options):
    torch.manual_seed(0)
    return EnergyResNet(IGEBM[name], width=width, form="openai", **options)


def test_openais_network_has_its_authors_parameters():
    """Counted from models.py, ResNet32: 3x3 convolutions without bias, one of them a shortcut."""
    widths = [(128, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 256)]
    convolutions = 9 * (3 * 128 + 128 * 256 + sum((c + d) * d for c, d in widths))
    biases_and_gains = sum(10 * (c + 2 * d) + d for c, d in widths)
    network = openai(width=128, conv_bias=False)
    found = count(network, network.class_affine(10), network.energy_head())
    assert found == convolutions + biases_and_gains + 257
    assert count(openai(width=128)) == convolutions + sum(c + 2 * d for c, d in widths)


def test_openais_blocks_are_those_of_a_slow_reference():
    network = openai(conv_bias=False)
    affine = network.class_affine(3)
    with torch.no_grad():
        for parameter in (*affine.parameters(), *(b.conv2.weight for b in network.blocks)):
            parameter.normal_()
    x, labels = torch.rand(2, 3, 8, 8), torch.tensor([2, 0])
    act = torch.nn.functional.leaky_relu
    expected = act(network.conv1(x), 0.2)
    for index, block in enumerate(network.blocks):
        table, shared, before = affine.tables[index], affine.shared[index], expected.shape[1]
        after = len(shared)
        bias1, bias2, gain = (
            t[..., None, None] for t in table[labels].split([before, after, after], 1)
        )
        branch = act(block.conv1(expected + bias1), 0.2)
        branch = block.conv2(branch + bias2) * (gain + shared[:, None, None])
        bypass = expected if before == after else block.shortcut(expected)
        total = branch + bypass
        expected = act(nn.functional.avg_pool2d(total, 2) if index in (0, 2, 4) else total, 0.2)
    found = network(x, affine(labels))
    torch.testing.assert_close(found, expected.relu().sum(dim=(2, 3)))


def test_openais_blocks_start_as_their_shortcut_and_their_second_weight_grows_up_to_one():
    network, x = openai(), torch.rand(1, 8, 8, 8)
    block = network.blocks[1]
    torch.testing.assert_close(block(x, None), x)
    assert [type(b.shortcut).__name__ for b in network.blocks].count("SpectralConv2d") == 1
    with torch.no_grad():
        block.conv2.weight.normal_(std=1e-3)
    torch.testing.assert_close(block.conv2.normalized(), block.conv2.weight)


def test_openais_network_without_classes_learns_its_own_biases_and_gain():
    network = openai("igebm-large")
    network(torch.rand(1, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    with pytest.raises(ConfigError, match="biases and gains of their own"):
        network.class_affine(10)


def test_a_config_without_a_form_is_the_network_of_older_runs():
    config = EncoderConfig(name="igebm-small", width=8)
    assert (
        build_encoder(config, 8).state_dict().keys()
        == EnergyResNet(IGEBM["igebm-small"], width=8).state_dict().keys()
    )
    assert isinstance(build_encoder(config, 8).blocks[0], EnergyBlock)
