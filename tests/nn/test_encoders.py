import copy

import pytest
import torch

from sslcli.config import families
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import Family
from sslcli.errors import ConfigError
from sslcli.nn.encoders import build_encoder


@pytest.mark.parametrize(
    ("settings", "feature_dim"),
    [
        ({"name": "resnet10", "width": 8}, 64),
        ({"name": "resnet10", "width": 8, "stem": "cifar"}, 64),
        ({"name": "resnet50", "width": 8, "stem": "cifar"}, 256),
        ({"name": "resnext50_32x4d", "width": 16}, 512),
        ({"name": "resnet8"}, 64),
        ({"name": "resnet8", "width": 12, "stem_stride": 2}, 48),
        ({"name": "timm:test_vit"}, 64),
        ({"name": "timm:test_resnet"}, 96),
        ({"name": "timm:mobilenetv3_small_050"}, 1024),  # num_features says 288
    ],
)
def test_feature_dim_is_what_comes_out(settings, feature_dim):
    encoder = build_encoder(EncoderConfig(**settings), 32)
    assert encoder.feature_dim == feature_dim
    assert encoder.training
    features = encoder(torch.randn(2, 3, 32, 32))
    assert features.shape == (2, feature_dim)
    features.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_the_seed_decides_the_weights():
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(build_encoder(EncoderConfig(name="resnet8"), 32).conv1.weight)
    assert torch.equal(*draws)


def test_channels_last_survives_the_whole_network():
    encoder = build_encoder(EncoderConfig(name="resnet8"), 32).to(memory_format=torch.channels_last)
    seen = []
    encoder.layer3.register_forward_hook(lambda _module, _in, out: seen.append(out))
    encoder(torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_timm_typo_brings_the_nearest():
    with pytest.raises(ConfigError) as caught:
        build_encoder(EncoderConfig(name="timm:vit_tiny_patch16_220"), 32)
    assert caught.value.where == "encoder.name"
    assert "timm:vit_tiny_patch16_224" in caught.value.hint


@pytest.mark.parametrize("name", ["timm:hf-hub:timm/test_vit", "timm:local-dir:/tmp", "timm:"])
def test_timm_names_never_reach_for_files_or_the_network(name):
    with pytest.raises(ConfigError, match="timm has no model"):
        build_encoder(EncoderConfig(name=name), 32)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_convnext"])
def test_timm_size_that_does_not_fit_is_a_config_error(name):
    with pytest.raises(ConfigError, match="does not map 4-pixel images"):
        build_encoder(EncoderConfig(name=name), 4)


@pytest.mark.parametrize("name", ["resnet8", "wrn-10-1", "vit-2-16-2", "timm:test_resnet"])
def test_normalized_features_are_unit_vectors_of_the_same_weights(name):
    def build(**fields):
        torch.manual_seed(0)
        return build_encoder(EncoderConfig(name=name, **fields), 32).eval()

    plain, unit = build(), build(normalize_features=True)
    images = torch.randn(2, 3, 32, 32)
    expected = torch.nn.functional.normalize(plain(images))
    torch.testing.assert_close(unit(images), expected)
    torch.testing.assert_close(copy.deepcopy(unit)(images), expected)
    assert unit.state_dict().keys() == plain.state_dict().keys()
    assert repr(unit) != repr(plain)  # which tells their cached features apart
    with torch.autocast("cpu", torch.bfloat16):
        assert unit(images).dtype == torch.float32


def test_a_new_family_is_one_row_of_the_table(monkeypatch):
    row = Family("bag-of-words".__eq__, f"{__name__}:bag_of_words", reads="text")
    monkeypatch.setattr(families, "FAMILIES", [*families.FAMILIES, row])
    encoder = build_encoder(EncoderConfig(name="bag-of-words"))
    assert (encoder.feature_dim, encoder.reads) == (3, "text")
    with pytest.raises(ConfigError, match="has no width"):
        build_encoder(EncoderConfig(name="bag-of-words", width=8))


def bag_of_words(config, image_size):
    encoder = torch.nn.EmbeddingBag(9, 3)
    encoder.feature_dim = 3
    return encoder
