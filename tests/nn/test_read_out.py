"""What evaluations read out of an encoder."""

import pytest
import torch

from sslcli.errors import ConfigError
from sslcli.nn.exemplar_net import ExemplarNet
from sslcli.nn.read_out import QuadrantFeatures, read_out


def test_features_join_every_layers_maximum_over_each_quadrant():
    network = ExemplarNet((4, 5, 6)).eval()
    features, images = QuadrantFeatures(network), torch.randn(2, 3, 64, 64)
    found = features(images)
    assert found.shape == (2, 4 * 15)
    first = network.maps(images)[0]
    expected = torch.stack([first[:, :, :16, :16].amax((2, 3)), first[:, :, :16, 16:].amax((2, 3))])
    torch.testing.assert_close(found[:, 0:16:4], expected[0])
    torch.testing.assert_close(found[:, 1:16:4], expected[1])


def test_only_encoders_with_maps_have_quadrants():
    encoder = torch.nn.Identity()
    assert read_out(encoder, "output") is encoder
    with pytest.raises(ConfigError, match="quadrants"):
        read_out(encoder, "quadrants")


def test_any_encoder_with_maps_has_quadrants():
    class Halves(torch.nn.Module):
        def maps(self, images):
            return [images, images / 2]

    image = torch.arange(16.0).view(1, 1, 4, 4)
    quarters = torch.tensor([[5.0, 7.0, 13.0, 15.0]])
    expected = torch.cat([quarters, quarters / 2], dim=1)
    torch.testing.assert_close(read_out(Halves(), "quadrants")(image), expected)
