import pytest
import torch

from sslcli.config.encoder import EncoderConfig
from sslcli.errors import ConfigError
from sslcli.nn.encoders import build_encoder
from sslcli.nn.wide_resnet import WideResNet


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_of_jems_network_are_golden():
    with torch.device("meta"):
        trunk = WideResNet(28, 10, norm="none", activation="leaky-relu")
    assert count(trunk) == 36_464_928
    assert count(trunk) + count(torch.nn.Linear(trunk.feature_dim, 10)) == 36_471_338
    assert count(trunk) + count(torch.nn.Linear(trunk.feature_dim, 100)) == 36_529_028


@pytest.mark.parametrize("name", ["wrn-10-1", "wrn-16-2"])
def test_names_build_networks_that_map_images_to_vectors(name):
    encoder = build_encoder(EncoderConfig(name=name, norm="none", activation="silu"), 8)
    assert encoder(torch.randn(2, 3, 8, 8)).shape == (2, encoder.feature_dim)


def test_without_a_norm_images_do_not_influence_each_other():
    torch.manual_seed(0)
    encoder, x = WideResNet(10, 1, norm="none"), torch.randn(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder(x)[0].sum(), x)
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0


def test_batch_norm_is_an_option():
    norms = [m for m in WideResNet(10, 1).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 7


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"name": "wrn-11-2"}, "encoder.name"),
        ({"name": "wrn-10-2", "stem": "cifar"}, "encoder.stem"),
        ({"name": "wrn-10-2", "width": 8}, "encoder.width"),
        ({"name": "resnet8", "activation": "silu"}, "encoder.activation"),
        ({"name": "igebm-small", "norm": "none"}, "encoder.norm"),
    ],
)
def test_settings_that_do_not_apply_are_refused(fields, where):
    with pytest.raises(ConfigError) as caught:
        build_encoder(EncoderConfig(**fields), 32)
    assert caught.value.where == where


def test_images_that_vanish_are_refused():
    with pytest.raises(ConfigError, match="too small"):
        build_encoder(EncoderConfig(name="igebm-small"), 4)
