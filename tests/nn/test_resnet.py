import pytest
import torch
import torchvision
from torch import nn

from sslcli.config.encoder import EncoderConfig
from sslcli.nn.encoders import build_encoder


def parameters(encoder: nn.Module) -> int:
    return sum(parameter.numel() for parameter in encoder.parameters())


def map_sizes(encoder: nn.Module, image_size: int) -> list[int]:
    sizes = []
    for name in ("maxpool", "layer1", "layer2", "layer3", "layer4"):
        module = encoder.get_submodule(name)
        module.register_forward_hook(lambda _module, _in, out: sizes.append(out.shape[-1]))
    encoder(torch.zeros(2, 3, image_size, image_size))
    return sizes


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2",
     "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"],
)  # fmt: skip
def test_state_dict_is_torchvisions_but_for_the_classifier(name):
    with torch.device("meta"):
        ours = build_encoder(EncoderConfig(name=name), 224)
        theirs = getattr(torchvision.models, name)()
    assert ours.feature_dim == theirs.fc.in_features
    theirs.fc = nn.Identity()
    expected = [(name, tensor.shape) for name, tensor in theirs.state_dict().items()]
    assert [(name, tensor.shape) for name, tensor in ours.state_dict().items()] == expected


def test_features_equal_torchvisions():
    theirs = torchvision.models.resnext50_32x4d().eval()
    theirs.fc = nn.Identity()
    ours = build_encoder(EncoderConfig(name="resnext50_32x4d"), 64).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_initial_weights_have_torchvisions_spread():
    ours = build_encoder(EncoderConfig(name="resnet18"), 224).state_dict()
    theirs = torchvision.models.resnet18().state_dict()
    for name, weight in ours.items():
        if weight.ndim == 4:
            assert weight.std().item() == pytest.approx(theirs[name].std().item(), rel=0.05), name


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [({"stem": "cifar"}, [32, 32, 16, 8, 4]),
     ({"stem": "cifar", "stem_padding": 2}, [34, 34, 17, 9, 5]),
     ({"stem": "cifar", "stem_stride": 2}, [16, 16, 8, 4, 2]),
     ({"stem": "imagenet"}, [8, 8, 4, 2, 1])],
)  # fmt: skip
def test_maps_at_32_pixels(settings, sizes):
    encoder = build_encoder(EncoderConfig(name="resnet10", width=8, **settings), 32)
    assert map_sizes(encoder, 32) == sizes


def test_parameter_counts():
    with torch.device("meta"):
        cifar = build_encoder(EncoderConfig(name="resnet18", stem="cifar"), 32)
        imagenet = build_encoder(EncoderConfig(name="resnet50"), 224)
    assert parameters(cifar) == 11_168_832  # 11.17 M, as every CIFAR ResNet-18 without fc
    assert parameters(imagenet) == 25_557_032 - 2_049_000  # torchvision's, without fc


@pytest.mark.parametrize(
    ("name", "width", "feature_dim"),
    [("resnet10", 8, 64), ("resnet18", 32, 256), ("resnet50", 128, 4096)],
)
def test_width_scales_every_stage(name, width, feature_dim):
    with torch.device("meta"):
        encoder = build_encoder(EncoderConfig(name=name, width=width), 64)
        assert encoder.feature_dim == feature_dim
        assert encoder(torch.zeros(2, 3, 64, 64)).shape == (2, feature_dim)


def test_doubled_resnet50_is_simclrs():
    with torch.device("meta"):
        encoder = build_encoder(EncoderConfig(name="resnet50", width=128), 224)
    assert round(parameters(encoder) / 1e6) == 94  # SimCLR, table 6: ResNet-50 (2x) has 94 M


@pytest.mark.parametrize(("name", "last"), [("resnet10", "bn2"), ("resnet50", "bn3")])
def test_zero_init_residual_zeroes_the_last_norm_of_each_block_only(name, last):
    encoder = build_encoder(EncoderConfig(name=name, width=8, zero_init_residual=True), 32)
    for name, module in encoder.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            is_last = name.startswith("layer") and name.endswith(last)
            assert torch.all(module.weight == (0 if is_last else 1)), name
