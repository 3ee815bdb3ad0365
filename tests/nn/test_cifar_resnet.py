import pytest
import torch
from torch import nn

from sslcli.config.encoder import EncoderConfig
from sslcli.nn.cifar_resnet import Block
from sslcli.nn.encoders import build_encoder


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85)],
)
def test_parameter_counts_are_table_6_of_the_paper(name, millions):
    encoder = build_encoder(EncoderConfig(name=name), 32)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    assert round((parameters + 650) / 1e6, 2) == millions  # 650: the paper's classifier


def test_layers_count_6n_plus_2():
    encoder = build_encoder(EncoderConfig(name="resnet20"), 32)
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) + 1 == 20


def test_shortcut_subsamples_and_appends_zeros():
    block = Block(2, 4, stride=2)
    x = torch.arange(2 * 4 * 4.0).view(1, 2, 4, 4)
    shortcut = block.shortcut(x)
    assert torch.equal(shortcut[:, :2], x[:, :, ::2, ::2])
    assert torch.equal(shortcut[:, 2:], torch.zeros(1, 2, 2, 2))


def test_shortcut_is_the_input_where_the_shape_stays():
    x = torch.randn(1, 4, 5, 5)
    assert Block(4, 4, stride=1).shortcut(x) is x


def test_shortcut_keeps_channels_last():
    x = torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    shortcut = Block(8, 16, stride=2).shortcut(x)
    assert shortcut.is_contiguous(memory_format=torch.channels_last)


def test_odd_maps_meet_at_the_sum():
    encoder = build_encoder(EncoderConfig(name="resnet8", width=4, stem_padding=2), 15)
    assert encoder(torch.randn(2, 3, 15, 15)).shape == (2, 16)


def test_zero_init_residual_leaves_the_stem_and_shortcuts():
    encoder = build_encoder(EncoderConfig(name="resnet8", zero_init_residual=True), 16).eval()
    x = torch.randn(2, 16, 16, 16).relu()
    assert torch.equal(encoder.layer1(x), x)
