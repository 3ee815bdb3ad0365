import math

import pytest
import timm
import torch

from sslcli.config.architectures import TransformerSize, vit_size
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import check_encoder
from sslcli.errors import ConfigError
from sslcli.nn.encoders import build_encoder
from sslcli.nn.vit import Attention, DropPath, VisionTransformer, without_drop_path

SIZE = TransformerSize(depth=2, width=16, heads=4)


def tiny(**settings):
    torch.manual_seed(0)
    return VisionTransformer(SIZE, image_size=8, patch_size=2, **settings)


@pytest.mark.parametrize("positions", ["learned", "sin-cos"])
def test_it_is_timms_network_with_timms_names(positions):
    encoder = tiny(positions=positions).eval()
    same = timm.models.VisionTransformer(
        img_size=8, patch_size=2, embed_dim=16, depth=2, num_heads=4, num_classes=0
    ).eval()
    same.load_state_dict(encoder.state_dict())
    images = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(encoder(images), same(images))


@pytest.mark.parametrize(
    ("name", "size"),
    [("vit-tiny", (12, 192, 3)), ("vit-small", (12, 384, 6)), ("vit-base", (12, 768, 12)),
     ("vit-4-64-4", (4, 64, 4)), ("vit-0-64-4", None), ("vit-huge", None), ("vit-4-64", None)],
)  # fmt: skip
def test_names_say_the_size(name, size):
    assert vit_size(name) == size


def test_all_faults_of_a_transformer_come_at_once():
    settings = {"name": "vit-2-18-4", "patch_size": 3, "positions": "sin-cos", "stem": "cifar"}
    with pytest.raises(ConfigError) as caught:
        check_encoder(EncoderConfig(**settings), 8)
    found = [fault.where for fault in caught.value.faults()]
    assert found == ["encoder.stem", "encoder.name", "encoder.positions", "encoder.patch_size"]


@pytest.mark.parametrize("name", ["resnet18", "resnet8", "wrn-10-1", "igebm-small", "timm:x"])
def test_other_networks_have_no_patches(name):
    with pytest.raises(ConfigError) as caught:
        check_encoder(EncoderConfig(name=name, patch_size=4, drop_path=0.1), 32)
    assert {f.where for f in caught.value.faults()} >= {"encoder.patch_size", "encoder.drop_path"}


def test_crops_of_other_sizes_pass_when_patches_divide_them():
    encoder = tiny()
    assert encoder(torch.randn(2, 3, 4, 4)).shape == (2, 16)
    with pytest.raises(ConfigError, match="7-pixel images do not divide into patches of 2"):
        encoder(torch.randn(2, 3, 7, 7))


def test_every_parameter_gets_a_gradient_and_the_fixed_table_is_none():
    encoder = tiny(positions="sin-cos", init="xavier")
    encoder(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert "pos_embed" not in dict(encoder.named_parameters())
    assert "pos_embed" in encoder.state_dict()
    assert not encoder.pos_embed[0, 0].any()


def test_xavier_counts_query_key_and_value_as_three_layers():
    encoder = tiny(positions="sin-cos", init="xavier")
    weight = encoder.blocks[0].attn.qkv.weight.detach()
    assert weight.abs().max() == pytest.approx(math.sqrt(6 / (16 + 16)), rel=0.02)
    patches = encoder.patch_embed.proj.weight.detach()
    assert patches.abs().max() == pytest.approx(math.sqrt(6 / (3 * 2 * 2 + 16)), rel=0.02)
    assert not encoder.patch_embed.proj.bias.any()
    assert 0 < encoder.cls_token.abs().max() < 1e-5


def test_cls_weights_are_those_that_attention_mixes_by():
    attention, x = Attention(16, 4), torch.randn(3, 5, 16)
    weights = attention.of_cls(x)  # [3, 4, 5]
    value = attention.qkv(x)[:, :, 32:].unflatten(2, (4, 4)).transpose(1, 2)  # [3, 4, 5, 4]
    mixed = (weights[:, :, None] @ value).squeeze(2).flatten(1)
    torch.testing.assert_close(attention.proj(mixed), attention(x)[:, 0])


def test_attention_maps_lie_on_the_images_patches():
    encoder = tiny().eval()
    maps = encoder.cls_attention(torch.randn(2, 3, 8, 8))
    assert maps.shape == (2, 4, 4, 4)
    assert (maps > 0).all()
    assert (maps.sum(dim=(2, 3)) < 1).all()
    assert encoder.cls_attention(torch.randn(2, 3, 16, 16)).shape == (2, 4, 8, 8)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop, branch = DropPath(0.25), torch.ones(4000, 3, 2)
    dropped = drop(branch).flatten(1)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (dropped == dropped[:, :1]).all()
    assert dropped.mean() == pytest.approx(1, abs=0.03)
    assert torch.equal(drop.eval()(branch), branch)


def test_drop_path_rises_with_depth_and_a_teacher_has_none():
    encoder = VisionTransformer(
        TransformerSize(3, 16, 4), image_size=8, patch_size=2, drop_path=0.2
    )
    assert [block.drop_path.rate for block in encoder.blocks] == [0, 0.1, 0.2]
    images = torch.randn(4, 3, 8, 8)
    teacher = without_drop_path(encoder)
    assert torch.equal(teacher(images), teacher(images))


def test_networks_of_other_heads_are_told_apart_by_their_repr():
    networks = [build_encoder(EncoderConfig(name=f"vit-1-16-{h}", patch_size=4), 8) for h in (2, 4)]
    assert repr(networks[0]) != repr(networks[1])
