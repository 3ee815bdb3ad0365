"""Every published layout gives back the network that it was made of, to the bit."""

import pytest
import torch
from layouts import (
    dino,
    jem,
    lightly,
    moco,
    moco_v3,
    simsiam,
    solo_learn,
    supcontrast,
    swav,
    torchvision,
    vissl,
)

from sslcli.config.encoder import EncoderConfig
from sslcli.nn.encoders import build_encoder
from sslcli.nn.foreign.guess import guess_encoder, image_size_of
from sslcli.nn.foreign.unpickle import tensors_in
from sslcli.nn.weights import put_weights
from sslcli.workflows.origins import origin_of, preset_for

RESNET = {"name": "resnet10", "width": 8}
CIFAR = {"name": "resnet10", "width": 8, "stem": "cifar"}
VIT = {"name": "vit-2-64-1", "patch_size": 8}
MOCO_VIT = {"name": "vit-2-48-12", "patch_size": 8, "positions": "sin-cos"}
WIDE = {"name": "wrn-10-2", "norm": "none", "activation": "leaky-relu"}
LAYOUTS = [
    (torchvision, RESNET, "", "supervised/imagenet"),
    (moco, RESNET, "state_dict.module.encoder_q.", "moco-v2/imagenet"),
    (moco_v3, RESNET, "state_dict.module.base_encoder.", "moco-v3/imagenet-resnet50"),
    (moco_v3, MOCO_VIT, "state_dict.module.base_encoder.", "moco-v3/imagenet"),
    (simsiam, RESNET, "state_dict.module.encoder.", "simsiam/imagenet"),
    (swav, RESNET, "module.", "swav/imagenet"),
    (dino, VIT, "teacher.backbone.", "dino/imagenet"),
    (dino, RESNET, "teacher.backbone.", "dino/imagenet-resnet50"),
    (supcontrast, CIFAR, "model.encoder.module.", "supcon/cifar10"),
    (lightly, RESNET, "state_dict.backbone.", "supervised/imagenet"),
    (lightly, CIFAR, "state_dict.backbone.", "simsiam/cifar10"),
    (solo_learn, CIFAR, "state_dict.backbone.", "simsiam/cifar10"),
    (vissl, RESNET, "classy_state_dict.base_model.model.trunk._feature_blocks.", None),
    (jem, WIDE, "model_state_dict.f.", "jem/cifar10"),
]
NAMES = [f"{layout.__name__}-{settings['name']}" for layout, settings, *_ in LAYOUTS]


def network(settings, seed=0):
    """Return a network whose norms have statistics of their own."""
    torch.manual_seed(seed)
    encoder = build_encoder(EncoderConfig(**settings), 32).train()
    encoder(torch.randn(4, 3, 32, 32))
    return encoder.eval()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(("layout", "settings", "prefix", "preset"), LAYOUTS, ids=NAMES)
def test_a_layout_gives_the_forward_pass_it_was_made_of(
    tmp_path, layout, settings, prefix, preset, zipped
):
    source, target = network(settings), network(settings, seed=1)
    file = tmp_path / "weights.pth.tar"
    torch.save(layout(source.state_dict()), file, _use_new_zipfile_serialization=zipped)
    stored = tensors_in(file)
    report = put_weights(target, stored, str(file))
    assert report.prefix == prefix
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(target(images), source(images))
    assert set(report.loaded) == set(source.state_dict())
    found = guess_encoder(stored, str(file))
    assert found == EncoderConfig(**settings)
    assert image_size_of(stored, found) == (32 if "vit" in found.name else None)
    chosen = preset_for(origin_of(stored), found)
    assert chosen == (preset or "supervised/imagenet")


def test_torchvisions_and_timms_own_networks_are_ours(tmp_path):
    import timm
    from torchvision.models import resnet18

    for theirs in (resnet18(), timm.create_model("resnet18", num_classes=7)):
        stored = theirs.state_dict()
        target = build_encoder(guess_encoder(stored, "here"), 64).eval()
        put_weights(target, stored, "here")
        theirs.fc = torch.nn.Identity()
        images = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(target(images), theirs.eval()(images))


@pytest.mark.parametrize("key", ["student", "student.module"])
def test_a_key_takes_another_network_of_the_file(key):
    source, target = network(VIT), network(VIT, seed=1)
    file = dino(source.state_dict())
    stored = {f"{k}.{n}": x for k in ("student", "teacher") for n, x in file[k].items()}
    report = put_weights(target, stored, "here", key)
    assert report.prefix == "student.module.backbone."
    assert not target.state_dict()["patch_embed.proj.weight"].any()  # the other network's zeros
