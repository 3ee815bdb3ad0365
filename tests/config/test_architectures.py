import pytest

from sslcli.config.architectures import cifar_depth, map_sizes
from sslcli.config.encoder import EncoderConfig


@pytest.mark.parametrize(
    ("name", "depth"),
    [("resnet8", 8), ("resnet20", 20), ("resnet110", 110), ("resnet1202", 1202),
     ("resnet50", None), ("resnet152", None), ("resnet21", None), ("resnet2", None),
     ("resnet020", None), ("vgg16", None)],
)  # fmt: skip
def test_cifar_family_is_6n_plus_2_where_imagenet_has_no_claim(name, depth):
    assert cifar_depth(name) == depth


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"name": "resnet18", "stem": "cifar"}, [32, 32, 16, 8, 4]),
        ({"name": "resnet18", "stem": "cifar", "stem_padding": 2}, [34, 34, 17, 9, 5]),
        ({"name": "resnet18", "stem": "cifar", "stem_stride": 2}, [16, 16, 8, 4, 2]),
        ({"name": "resnet18"}, [8, 8, 4, 2, 1]),
        ({"name": "resnet20"}, [32, 32, 16, 8]),
        ({"name": "resnet20", "stem_stride": 2}, [16, 16, 8, 4]),
    ],
)
def test_map_sizes_at_32_pixels(settings, sizes):
    assert map_sizes(EncoderConfig(**settings), 32) == sizes
