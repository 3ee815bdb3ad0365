"""The cutting of images into patches, and the networks that run over them."""

import pytest
import torch

from sslcli.config.architectures import Stage
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import check_encoder
from sslcli.errors import ConfigError
from sslcli.nn.encoders import build_encoder
from sslcli.nn.preact_resnet import PreActResNet

SMALL = {"name": "cpc-resnet8", "width": 4, "stem": "cifar", "patch_size": 8, "patch_stride": 4}


def made(norm="layer", **fields):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(**(SMALL | {"norm": norm} | fields)), 16).double()


def images(count=3):
    return torch.randn(count, 3, 16, 16, dtype=torch.float64)


def test_patches_are_views_of_the_images():
    pixels = images()
    patches = made().patches(pixels)
    assert patches.shape == (3, 3, 3, 3, 8, 8)
    assert patches.untyped_storage().data_ptr() == pixels.untyped_storage().data_ptr()
    assert torch.equal(patches[1, 2, 1], pixels[1, :, 8:16, 4:12])


def test_each_patch_has_the_features_that_it_has_alone():
    encoder, pixels = made(), images()
    grid = encoder.grid(pixels)
    assert grid.shape == (3, 16, 3, 3)
    alone = encoder.network(pixels[1:2, :, 4:12, 8:16])
    torch.testing.assert_close(grid[1:2, :, 1, 2], alone, rtol=1e-12, atol=1e-12)


def test_batch_norm_lets_patches_see_each_other():
    encoder, pixels = made("batch").train(), images()
    alone = encoder.network(pixels[1:2, :, 4:12, 8:16])
    assert (encoder.grid(pixels)[1:2, :, 1, 2] - alone).abs().max() > 0.1


def test_features_are_the_mean_of_the_grid_and_maps_the_grid():
    encoder, pixels = made(), images()
    grid = encoder.grid(pixels)
    torch.testing.assert_close(encoder(pixels), grid.mean(dim=(2, 3)))
    (maps,) = encoder.maps(pixels)
    assert torch.equal(maps, grid)
    assert encoder.channels == [16]
    torch.testing.assert_close(encoder(encoder.patches(pixels)), encoder(pixels))


@pytest.mark.parametrize(
    ("fields", "where", "hint"),
    [
        ({"patch_stride": 5}, "data.image_size", "13 or 18"),
        ({"patch_size": 20}, "data.image_size", "20 or 24"),
        ({"patch_size": 3}, "encoder.patch_stride", "3 or less"),
        ({"patch_stride": None}, "encoder.patch_stride", "set both"),
        ({"stem": "imagenet", "stem_kernel": 5}, "encoder.stem_kernel", 'encoder.stem = "cifar"'),
    ],
)
def test_patches_that_do_not_fit_are_refused_with_what_would(fields, where, hint):
    with pytest.raises(ConfigError) as caught:
        check_encoder(EncoderConfig(**(SMALL | {"norm": "layer"} | fields)), 16)
    assert hint in {fault.where: fault.hint for fault in caught.value.faults()}[where]


def test_images_of_another_size_are_refused_unless_patches_cover_them():
    encoder = made()
    assert encoder.grid(torch.zeros(1, 3, 20, 20, dtype=torch.float64)).shape[2:] == (4, 4)
    with pytest.raises(ConfigError, match="do not cover 18 pixels") as caught:
        encoder(torch.zeros(1, 3, 18, 18, dtype=torch.float64))
    assert "16 or 20" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "fields", "dim"),
    [
        ("cpc-resnet14", {"stem": "cifar", "stem_kernel": 5}, 256),  # RS on STL-10
        ("cpc-resnet50", {"stem": "cifar", "stem_kernel": 5}, 1024),  # Greedy InfoMax on STL-10
        ("cpc-resnet101", {}, 1024),  # v1 on ImageNet
        ("cpc-resnet161", {}, 4096),  # v2 on ImageNet
        ("cpc-wrn-28-2", {}, 128),  # RS on CIFAR-10
    ],
)
def test_networks_have_the_papers_width(name, fields, dim):
    config = EncoderConfig(name=name, norm="layer", patch_size=16, patch_stride=8, **fields)
    with torch.device("meta"):
        encoder = build_encoder(config, 32)
        assert encoder.feature_dim == dim
        assert encoder.grid(torch.empty(2, 3, 32, 32)).shape == (2, dim, 3, 3)


@pytest.mark.parametrize("name", ["cpc-resnet8", "cpc-wrn-10-1"])
@pytest.mark.parametrize("norm", ["layer", "none", "batch"])
def test_convolutions_have_biases_where_there_is_no_norm(name, norm):
    config = EncoderConfig(name=name, norm=norm, patch_size=8, patch_stride=4)
    with torch.device("meta"):
        encoder = build_encoder(config, 16)
    convolutions = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in encoder.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert {m.bias is not None for m in convolutions} == {norm == "none"}
    assert bool(norms) == (norm == "layer")
    assert all(m.num_groups == 1 for m in norms)


@pytest.mark.parametrize("wider", [1, 4])
def test_a_block_takes_its_shortcut_behind_the_first_relu(wider):
    torch.manual_seed(0)
    stages = [Stage(2, 1, wider), Stage(1, 2, 2 * wider), Stage(1, 4, 4 * wider)]
    network = PreActResNet(stages, width=4, norm="none", stem=3).double()
    first, second = network.layer2[0], network.layer1[1]
    x = torch.randn(2, 4 * wider, 6, 6, dtype=torch.float64)
    for block in (first, second):
        branch = x.relu()
        shortcut = block.shortcut(branch) if block.shortcut is not None else x
        for place, conv in enumerate(block.convs):
            branch = conv(branch if place == 0 else branch.relu())
        torch.testing.assert_close(block(x), branch + shortcut)
    assert second.shortcut is None
    assert first.shortcut.stride == (2, 2)
    assert [conv.stride[0] for conv in first.convs] == ([2, 1] if wider == 1 else [1, 2, 1])
