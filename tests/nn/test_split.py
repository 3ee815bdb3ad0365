"""Networks that see some channels each: their sizes, what they see, and what can be read out."""

import pytest
import torch

from sslcli.config.encoder import EncoderConfig
from sslcli.errors import ConfigError
from sslcli.nn.alexnet import HalfAlexNet
from sslcli.nn.encoders import build_encoder
from sslcli.nn.read_out import read_out
from sslcli.nn.split import Channels

LAB = ((0,), (1, 2))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def tiny(split=LAB, **more):
    return build_encoder(EncoderConfig(name="resnet8", width=4, split=split, **more), 16).eval()


@pytest.mark.parametrize(("channels", "total"), [(1, 14_611_488), (2, 14_617_296)])
def test_half_an_alexnet_has_the_size_of_the_official_code_s(channels, total):
    with torch.device("meta"):
        assert count(HalfAlexNet(channels, 16)) == total
        assert HalfAlexNet(channels, 128)(torch.empty(2, channels, 224, 224)).shape == (2, 128)


@pytest.mark.parametrize(
    ("width", "total", "features"),
    [(32, 12_058_048, 2048), (64, 47_531_200, 4096), (128, 188_752_576, 8192)],
)
def test_resnets_of_both_parts_have_the_official_totals_with_their_heads(width, total, features):
    config = EncoderConfig(name="resnet50", width=width, stem_width=64, split=LAB)
    with torch.device("meta"):
        encoder = build_encoder(config, 224)
        heads = [torch.nn.Linear(dim, 128) for dim in encoder.dims]
    assert count(encoder) + sum(map(count, heads)) == total
    assert encoder.feature_dim == features
    assert encoder.towers[0].conv1.out_channels == 64


def test_each_network_sees_its_channels_alone():
    encoder, images = tiny(), torch.randn(2, 3, 16, 16)
    light, colour = encoder(images).split(encoder.dims, dim=1)
    other = images.clone()
    other[:, 1:] = 0
    changed = encoder(other).split(encoder.dims, dim=1)
    assert torch.equal(changed[0], light)
    assert (changed[1] - colour).abs().max() > 1e-3
    assert {id(p) for p in encoder.towers[0].parameters()}.isdisjoint(
        id(p) for p in encoder.towers[1].parameters()
    )


def test_edges_are_the_slopes_of_channel_0():
    slope = torch.arange(5.0).expand(1, 1, 5, 5)
    images = torch.cat([slope, 9 * torch.rand(1, 2, 5, 5)], dim=1)
    across, down, plain = Channels(("dx", "dy", 0))(images).unbind(1)
    assert (across[:, :, 1:-1] == 2).all()
    assert (down == 0).all()
    assert torch.equal(plain, slope[:, 0])


def test_the_layers_that_cmc_probes_stand_side_by_side():
    with torch.device("meta"):
        encoder = build_encoder(EncoderConfig(name="half-alexnet", split=LAB), 224)
        images = torch.empty(2, 3, 224, 224)
        sizes = {n: read_out(encoder, f"layer-{n}")(images).shape[1] for n in range(1, 6)}
    wide = {1: (10, 96), 2: (6, 256), 3: (5, 384), 4: (5, 384), 5: (6, 256)}
    assert sizes == {number: side**2 * channels for number, (side, channels) in wide.items()}
    assert encoder.layer_dims == sizes


def test_a_resnet_s_layer_6_is_its_output():
    config = EncoderConfig(name="resnet10", width=8, stem="cifar", split=LAB)
    encoder, images = build_encoder(config, 32).eval(), torch.randn(2, 3, 32, 32)
    assert torch.equal(read_out(encoder, "layer-6")(images), encoder(images))


@pytest.mark.parametrize("name", ["layer-7", "layer-1"])
def test_a_layer_that_is_not_there_is_refused_with_those_that_are(name):
    encoder = build_encoder(EncoderConfig(name="resnet10", width=8, split=LAB), 64)
    with pytest.raises(ConfigError) as caught:
        read_out(encoder, name)
    assert "layer-6" in caught.value.hint
    with pytest.raises(ConfigError):
        read_out(tiny(), name)


@pytest.mark.parametrize("split", [(), ((),), ((0, 0),), ((3,),), (("dz",),)])
def test_a_split_into_nothing_or_into_other_channels_is_refused(split):
    with pytest.raises(ValueError, match="split"):
        EncoderConfig(name="resnet8", split=split)


def test_a_network_that_takes_colours_alone_has_no_split():
    with pytest.raises(ConfigError, match="no split"):
        build_encoder(EncoderConfig(name="vit-tiny", split=LAB), 32)
