"""AMDIM's encoders have the code's layers, windows and draws, and refuse what has no form."""

import pytest
import torch
from torch import nn

from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import check_encoder
from sslcli.errors import ConfigError
from sslcli.nn.amdim import AMDIMEncoder, GlobalFeature, Residual
from sslcli.nn.encoders import build_encoder
from sslcli.nn.read_out import read_out

WINDOWS = {  # side of the images: window of a place of r7, r5, r1, and pixels between windows of r7
    32: (8, 16, 32, 4),
    64: (16, 32, 64, 8),
    128: (35, 67, 131, 16),
}


def tiny(size=32, norm=False):
    torch.manual_seed(0)
    return AMDIMEncoder(size, width=2, dim=16, depth=2, norm=norm)


def moved(network):
    """Let every block do something, which at the start is an average pool."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.5)
    return network.double()


@pytest.mark.parametrize("size", WINDOWS)
@pytest.mark.parametrize("norm", [False, True])
def test_maps_have_seven_and_five_places_and_the_feature_is_one(size, norm):
    r1, r5, r7 = tiny(size, norm)(torch.randn(2, 3, size, size))
    assert (r1.shape, r5.shape, r7.shape) == ((2, 16), (2, 16, 5, 5), (2, 16, 7, 7))


@pytest.mark.parametrize(
    ("size", "width", "dim", "depth", "millions", "without_heads"),
    [
        (32, 128, 1024, 3, 20.0, 15.8),
        (32, 256, 2048, 10, 127.8, 111.0),
        (64, 256, 2048, 10, 425.5, 400.3),
        (128, 192, 1536, 8, 208.4, 194.3),
        (128, 256, 2048, 10, 426.1, 400.9),
        (128, 320, 2560, 10, 665.7, 626.4),
    ],
)
def test_parameters_are_as_many_as_the_codes(size, width, dim, depth, millions, without_heads):
    with torch.device("meta"):
        network = AMDIMEncoder(size, width, dim, depth)
    heads = [p for head in (network.head_5, network.head_7) for p in head.parameters()]
    total, in_heads = (sum(p.numel() for p in ps) for ps in (network.parameters(), heads))
    assert round(total / 1e6, 1) == millions
    assert round((total - in_heads) / 1e6, 1) == without_heads


@pytest.mark.parametrize("size", WINDOWS)
def test_a_place_sees_its_window_and_nothing_else(size):
    network, (*windows, stride) = moved(tiny(size)).eval(), WINDOWS[size]
    images = torch.randn(1, 3, size, size).double().requires_grad_()
    r1, r5, r7 = network(images)
    left = -(windows[0] - (size - 6 * stride)) // 2  # where the reflection begins, 0 without
    for maps, window in zip((r7, r5, r1[:, :, None, None]), windows, strict=True):
        for place in {0, 1, maps.shape[-1] - 1} & set(range(maps.shape[-1])):
            (gradient,) = torch.autograd.grad(
                maps[0, :, place, place].sum(), images, retain_graph=True
            )
            seen = gradient.abs().sum(dim=(0, 1)).sum(dim=0).nonzero()[:, 0]
            first = left + place * stride
            assert (seen[0], seen[-1]) == (max(0, first), min(size, first + window) - 1)


def test_pixels_outside_its_window_leave_a_local_feature_as_it_is():
    network, images = moved(tiny()).eval(), torch.randn(1, 3, 32, 32).double()
    changed = torch.randn(1, 3, 32, 32).double()
    changed[:, :, 8:16, 12:20] = images[:, :, 8:16, 12:20]  # the window of row 2, column 3
    (_, _, before), (_, _, after) = network(images), network(changed)
    is_same = (before == after).all(dim=1)[0]
    assert is_same[2, 3]
    assert is_same.sum() == 1


def test_blocks_begin_as_average_pools_and_heads_as_nearly_the_identity():
    network = tiny()
    block, x = Residual(3, 5, 4, 2, norm=False), torch.randn(1, 3, 6, 6)
    torch.testing.assert_close(block(x)[:, :3], nn.functional.avg_pool2d(x, 4, 2))
    assert not block(x)[:, 3:].any()
    bound = block.conv1.weight.shape[1:].numel() ** -0.5  # kaiming-uniform of a = sqrt(5)
    assert 0.9 * bound < block.conv1.weight.abs().max() <= bound
    for head in (network.head_5, network.head_7):
        weight = head.shortcut.weight[:, :, 0, 0]
        assert not head.conv2.weight.any()
        assert (weight.diagonal() == 1).all()
        assert 0.009 < (weight - torch.eye(16, 8)).abs().max() <= 0.01
        assert head.shortcut.bias.any()


@pytest.mark.parametrize(("norm", "count"), [(False, 3), (True, 16)])
def test_there_is_no_norm_that_nothing_uses(norm, count):
    network = tiny(norm=norm)
    network(torch.randn(2, 3, 32, 32))[0].sum().backward()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == count
    assert all(m.num_batches_tracked == 1 for m in norms)


def test_the_kept_encoder_gives_the_global_feature_and_shows_both_maps():
    encoder = build_encoder(EncoderConfig(name="amdim-16-2", width=2, norm="none"), 32).eval()
    images = torch.randn(2, 3, 32, 32)
    r1, r5, r7 = encoder.network(images)
    assert isinstance(encoder, GlobalFeature)
    assert torch.equal(encoder(images), r1)
    assert [torch.equal(a, b) for a, b in zip(encoder.maps(images), (r7, r5), strict=True)] == [
        True,
        True,
    ]
    assert read_out(encoder, "quadrants")(images).shape == (2, 4 * (16 + 16))
    (encoder(images) ** 2).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)


def test_images_of_another_size_are_refused():
    with pytest.raises(ConfigError, match="maps images of 32 pixels, not of 24") as caught:
        tiny()(torch.randn(2, 3, 24, 24))
    assert "32, 64 or 128" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "settings", "where", "hints"),
    [
        (32, {"width": 8, "name": "amdim-31-2"}, "encoder.name", ("amdim-32-2", "7 or less")),
        (64, {"width": 8, "name": "amdim-63-2"}, "encoder.name", ("amdim-64-2", "7 or less")),
        (32, {"name": "amdim-256-2"}, "encoder.name", ("amdim-512-2", "64 or less")),
        (96, {"width": 8, "name": "amdim-64-2"}, "data.image_size", ("32, 64 or 128",)),
        (32, {"width": 8, "name": "amdim-64-2", "stem": "cifar"}, "encoder.stem", ("leave it",)),
    ],
)
def test_what_has_no_form_is_refused_with_what_would_fit(size, settings, where, hints):
    with pytest.raises(ConfigError) as caught:
        check_encoder(EncoderConfig(**settings), size)
    (fault,) = caught.value.faults()
    assert fault.where == where
    assert all(hint in fault.hint for hint in hints)


def test_the_network_itself_refuses_too_few_numbers():
    with pytest.raises(ValueError, match=r"at least 16 \(8 \* width\), not 15"):
        AMDIMEncoder(64, 2, 15, 1)
    with pytest.raises(ValueError, match="32, 64 or 128 pixels, not 96"):
        AMDIMEncoder(96, 2, 16, 1)
