import subprocess
import sys

import pytest

from sslcli.config.architectures import encoder_names
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import check_encoder
from sslcli.errors import ConfigError


def faults(image_size: int = 32, **settings):
    with pytest.raises(ConfigError) as caught:
        check_encoder(EncoderConfig(**settings), image_size)
    return {fault.where: fault for fault in caught.value.faults()}


def test_names_cost_no_torch():
    code = "import sys, sslcli.config.families, sslcli.formats; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_listed_name_is_accepted():
    for name in encoder_names()[:-1]:
        cut = {"patch_size": 8, "patch_stride": 4} if name.startswith("cpc-") else {}
        check_encoder(EncoderConfig(name=name, **cut), image_size=64)


def test_unknown_name_brings_the_nearest():
    fault = faults(name="rsenet18")["encoder.name"]
    assert "resnet18" in fault.hint
    assert "timm:NAME" in fault.hint


def test_all_faults_come_at_once():
    found = faults(name="resnext50_32x4d", stem_stride=2, stem_padding=2, width=8, image_size=8)
    assert set(found) == {
        "encoder.stem_stride", "encoder.stem_padding", "encoder.width", "data.image_size",
    }  # fmt: skip
    assert "16" in found["encoder.width"].hint


def test_timm_models_take_no_resnet_settings():
    found = faults(name="timm:vit_tiny_patch16_224", stem="cifar", zero_init_residual=True)
    assert set(found) == {"encoder.stem", "encoder.zero_init_residual"}


@pytest.mark.parametrize(
    ("settings", "smallest"),
    [({"name": "resnet18"}, 17), ({"name": "resnet18", "stem": "cifar"}, 5),
     ({"name": "resnet20"}, 3), ({"name": "resnet20", "stem_stride": 2}, 5)],
)  # fmt: skip
def test_an_image_too_small_names_the_smallest_that_does(settings, smallest):
    check_encoder(EncoderConfig(**settings), smallest)
    fault = faults(image_size=smallest - 1, **settings)["data.image_size"]
    assert f"at least {smallest} pixels" in fault.hint
