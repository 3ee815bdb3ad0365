import pytest
import timm
from timm.optim import param_groups_layer_decay

from sslcli.config.encoder import EncoderConfig
from sslcli.nn.depth import depths
from sslcli.nn.encoders import build_encoder


def named(name, **fields):
    return [n for n, _ in build_encoder(EncoderConfig(name=name, **fields), 32).named_parameters()]


def test_rates_of_a_transformer_decay_as_in_timm():
    same = timm.models.VisionTransformer(
        img_size=32, patch_size=4, embed_dim=16, depth=3, num_heads=4, num_classes=5
    )
    ours = depths(named("vit-3-16-4", patch_size=4))
    names = {id(parameter): name for name, parameter in same.named_parameters()}
    theirs = {
        names[id(parameter)]: group["lr_scale"]
        for group in param_groups_layer_decay(same, layer_decay=0.5)
        for parameter in group["params"]
    }
    head = {name: theirs.pop(name) for name in list(theirs) if name.startswith("head.")}
    assert set(head.values()) == {1.0}
    assert {name: 0.5 ** (4 - depth) for name, depth in ours.items()} == theirs


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "wrn-10-1", "timm:resnet18"])
def test_stages_of_a_resnet_are_counted_and_the_stem_lies_below(name):
    found = depths(named(name))
    assert found["conv1.weight"] == 0
    stages = max(found.values())
    assert stages == (4 if "18" in name else 3)
    for stage in range(1, stages + 1):
        inside = {depth for n, depth in found.items() if n.startswith(f"layer{stage}.")}
        assert inside == {stage}


def test_a_network_without_stages_is_refused():
    with pytest.raises(ValueError, match="neither blocks nor stages"):
        depths(named("exemplar-small"))
