"""What evaluations read out of an encoder."""

import pytest
import timm
import torch

from sslcli.config.architectures import TransformerSize
from sslcli.errors import ConfigError
from sslcli.nn.exemplar_net import ExemplarNet
from sslcli.nn.read_out import QuadrantFeatures, read_out
from sslcli.nn.vit import VisionTransformer


def test_features_join_every_layers_maximum_over_each_quadrant():
    network = ExemplarNet((4, 5, 6)).eval()
    features, images = QuadrantFeatures(network), torch.randn(2, 3, 64, 64)
    found = features(images)
    assert found.shape == (2, features.feature_dim) == (2, 4 * 15)
    first = network.maps(images)[0]
    expected = torch.stack([first[:, :, :16, :16].amax((2, 3)), first[:, :, :16, 16:].amax((2, 3))])
    torch.testing.assert_close(found[:, 0:16:4], expected[0])
    torch.testing.assert_close(found[:, 1:16:4], expected[1])


def test_only_encoders_with_maps_have_quadrants():
    encoder = torch.nn.Identity()
    assert read_out(encoder, "encoder") is encoder
    with pytest.raises(ConfigError, match="quadrants"):
        read_out(encoder, "quadrants")


def test_any_encoder_with_maps_has_quadrants():
    class Halves(torch.nn.Module):
        channels = (1, 1)

        def maps(self, images):
            return [images, images / 2]

    image = torch.arange(16.0).view(1, 1, 4, 4)
    quarters = torch.tensor([[5.0, 7.0, 13.0, 15.0]])
    expected = torch.cat([quarters, quarters / 2], dim=1)
    torch.testing.assert_close(read_out(Halves(), "quadrants")(image), expected)


def transformer():
    torch.manual_seed(0)
    size = TransformerSize(depth=4, width=16, heads=4)
    return VisionTransformer(size, image_size=8, patch_size=2).eval()


@pytest.mark.parametrize("patches", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_tokens_are_those_that_timm_and_dino_read_out(count, patches):
    encoder, images = transformer(), torch.randn(3, 3, 8, 8)
    same = timm.models.VisionTransformer(
        img_size=8, patch_size=2, embed_dim=16, depth=4, num_heads=4, num_classes=0
    ).eval()
    same.load_state_dict(encoder.state_dict())
    layers = same.get_intermediate_layers(images, n=count, return_prefix_tokens=True, norm=True)
    expected = [prefix[:, 0] for _, prefix in layers]
    expected += [layers[-1][0].mean(dim=1)] if patches else []
    network = read_out(encoder, f"last-{count}" + "+patches" * patches)
    found = network(images)
    torch.testing.assert_close(found, torch.cat(expected, dim=1))
    assert network.feature_dim == found.shape[1]
    theirs = read_out(same, f"last-{count}" + "+patches" * patches)
    torch.testing.assert_close(theirs(images), found)
    assert theirs.feature_dim == network.feature_dim


def test_registers_of_timms_transformers_are_no_patches():
    encoder = timm.models.VisionTransformer(
        img_size=8, patch_size=2, embed_dim=16, depth=2, num_heads=4, num_classes=0, reg_tokens=3
    ).eval()
    images = torch.randn(2, 3, 8, 8)
    ((patches, prefix),) = encoder.get_intermediate_layers(
        images, n=1, return_prefix_tokens=True, norm=True
    )
    expected = torch.cat([prefix[:, 0], patches.mean(dim=1)], dim=1)
    torch.testing.assert_close(read_out(encoder, "last-1+patches")(images), expected)
    assert patches.shape[1] == 16


@pytest.mark.parametrize("name", ["test_vit4", "test_resnet"])
def test_timms_networks_without_a_class_token_have_none_to_read_out(name):
    with pytest.raises(ConfigError, match="no last-1"):
        read_out(timm.create_model(name, num_classes=0), "last-1")


def test_the_last_class_token_is_the_encoder_s_output():
    encoder, images = transformer(), torch.randn(2, 3, 8, 8)
    assert torch.equal(read_out(encoder, "last-1")(images), encoder(images))


def test_the_head_follows_the_encoder():
    encoder = torch.nn.Linear(6, 4)
    head = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    network, x = read_out(encoder, "head", head), torch.randn(2, 6)
    assert torch.equal(network(x), head(encoder(x)))
    assert network.feature_dim == 3


@pytest.mark.parametrize(
    ("features", "hint"),
    [("last-5", "it has encoder, last-1 to last-4"), ("head", "it has encoder, last-1"),
     ("quadrants", "it has encoder")],
)  # fmt: skip
def test_what_a_network_lacks_is_refused_with_what_it_has(features, hint):
    with pytest.raises(ConfigError, match=f"no {features}") as caught:
        read_out(transformer(), features)
    assert caught.value.hint.startswith(hint)


def test_a_read_out_has_the_mode_of_its_encoder_and_leaves_that_alone():
    encoder = transformer().train()
    encoder.norm.eval()
    network = read_out(encoder, "last-2")
    assert network.training
    assert not encoder.norm.training
    assert "count=2" in repr(network)  # and so the key of cached features differs
