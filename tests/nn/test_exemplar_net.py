import pytest
import torch

from sslcli.config.encoder import EncoderConfig
from sslcli.nn.encoders import build_encoder
from sslcli.nn.exemplar_net import ExemplarNet


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("exemplar-small", (64, 64, 128)),
        ("exemplar-medium", (64, 128, 256, 512)),
        ("exemplar-large", (92, 256, 512, 1024)),
    ],
)
def test_the_papers_networks(name, widths):
    network = build_encoder(EncoderConfig(name=name, dropout=0.5), 32)
    layers = [*network.convolutions, network.connected]
    assert tuple(layer.out_channels for layer in layers) == widths
    assert network.feature_dim == widths[-1]
    assert network.dropout.p == 0.5


def test_a_patch_gives_one_vector_and_larger_images_an_average():
    network = ExemplarNet((4, 5, 6)).eval()
    patch = torch.randn(2, 3, 32, 32)
    assert network.maps(patch)[-1].shape == (2, 6, 1, 1)
    torch.testing.assert_close(network(patch), network.maps(patch)[-1].flatten(1))
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 6)
