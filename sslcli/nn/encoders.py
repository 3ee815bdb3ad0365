"""Build an encoder from its config; each has `feature_dim` and gives one vector a sample."""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import torch
from torch import nn

from sslcli.config.architectures import (
    CLIP_RESNETS,
    CPC_RESNETS,
    EXEMPLAR,
    IGEBM,
    RESNETS,
    amdim_size,
    amdim_width,
    bert_size,
    cifar_depth,
    clip_size,
    cpc_wide_size,
    patch_side,
    vit_size,
    wide_size,
)
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import check_encoder, family_of
from sslcli.errors import ConfigError
from sslcli.nn.alexnet import HalfAlexNet
from sslcli.nn.amdim import AMDIMEncoder, GlobalFeature
from sslcli.nn.cifar_resnet import CifarResNet
from sslcli.nn.clip import ImageTransformer, TextTransformer
from sslcli.nn.clip_resnet import CLIPResNet
from sslcli.nn.energy_resnet import EnergyResNet
from sslcli.nn.exemplar_net import ExemplarNet
from sslcli.nn.patch_encoder import PatchEncoder
from sslcli.nn.preact_resnet import PreActResNet
from sslcli.nn.resnet import ResNet, cifar_stem, imagenet_stem
from sslcli.nn.split import SplitEncoder
from sslcli.nn.unit_length import give_unit_vectors
from sslcli.nn.vit import VisionTransformer
from sslcli.nn.wide_resnet import WideResNet

Builder = Callable[[EncoderConfig, int], nn.Module]


def build_encoder(config: EncoderConfig, image_size: int = 0) -> nn.Module:
    """Return a freshly drawn encoder; `config.weights` is left to `load_encoder_weights`.

    Args:
        config: Name and settings.
        image_size: Side of the images it will see; too small a size is an error. An encoder of
            texts needs none.

    Returns:
        A module with `feature_dim`, an int, and `reads`, a column of the data. It maps images
        [B, 3, H, W], or the ids and mask of `Tokens`, each [B, L], to [B, feature_dim]. It may have
        `maps`, which returns the maps of its layers, [B, C, H, W] each.

    Raises:
        ConfigError: If the name is unknown, or a setting or the image size does not fit it.
    """
    check_encoder(config, image_size)
    family = family_of(config)
    encoder: Any = _built(_builder(family.build), config, image_size)
    encoder.reads = family.reads
    return give_unit_vectors(encoder) if config.normalize_features else encoder


def _built(build: Builder, config: EncoderConfig, image_size: int) -> nn.Module:
    """Build a network, or one for each part of the channels."""
    if not config.split:
        return build(config, image_size)
    parts = (config.model_copy(update={"split": (part,)}) for part in config.split)
    return SplitEncoder(config.split, [build(part, image_size) for part in parts])


def _builder(named: str | Builder) -> Builder:
    """Return the function that a family names or holds."""
    if not isinstance(named, str):
        return named
    module, function = named.split(":")
    found: Builder = getattr(import_module(module), function)
    return found


def build_resnet(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build one of torchvision's networks."""
    width = config.width or 64
    before = config.stem_width or width
    if config.stem == "cifar":
        stem = cifar_stem(before, config.stem_stride, config.stem_padding, config.channels)
    else:
        stem = imagenet_stem(before, config.channels)
    zero = config.zero_init_residual
    return ResNet(RESNETS[config.name], stem, width=width, zero_init_residual=zero)


def build_half_alexnet(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build half an AlexNet, without its last layer."""
    return HalfAlexNet(config.channels)


def build_cifar_resnet(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build a member of the CIFAR family."""
    depth = cifar_depth(config.name)
    assert depth is not None
    return CifarResNet(
        depth,
        width=config.width or 16,
        channels=config.channels,
        stem_stride=config.stem_stride,
        stem_padding=config.stem_padding,
        zero_init_residual=config.zero_init_residual,
    )


def build_wide_resnet(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build a wide ResNet."""
    size = wide_size(config.name)
    assert size is not None
    return WideResNet(*size, norm=config.norm, activation=config.activation, dropout=config.dropout)


def build_energy_resnet(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build one of IGEBM's networks."""
    return EnergyResNet(
        IGEBM[config.name],
        width=config.width or 128,
        activation=config.activation,
        dropout=config.dropout,
        conv_bias=config.conv_bias,
        form=config.form,
    )


def build_exemplar_net(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build one of Exemplar-CNN's networks."""
    return ExemplarNet(EXEMPLAR[config.name], dropout=config.dropout)


def build_patch_encoder(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build one of CPC's networks, behind the cutting of images into patches."""
    assert config.patch_size is not None
    assert config.patch_stride is not None
    network: nn.Module
    if size := cpc_wide_size(config.name):
        network = WideResNet(*size, norm=config.norm, bias=config.norm == "none")
    else:
        network = PreActResNet(
            CPC_RESNETS[config.name],
            width=config.width or 64,
            norm=config.norm,
            stem=7 if config.stem == "imagenet" else config.stem_kernel,
            stem_stride=config.stem_stride,
        )
    return PatchEncoder(network, config.patch_size, config.patch_stride)


def build_amdim(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build an AMDIM network."""
    size = amdim_size(config.name)
    assert size is not None
    network = AMDIMEncoder(image_size, amdim_width(config), *size, norm=config.norm == "batch")
    return GlobalFeature(network)


def build_transformer(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build a vision transformer."""
    size = vit_size(config.name)
    assert size is not None
    return VisionTransformer(
        size,
        image_size=image_size,
        patch_size=patch_side(config),
        positions=config.positions,
        init=config.init,
        drop_path=config.drop_path,
    )


def build_bert(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build an encoder of sentences."""
    from sslcli.nn.bert import Bert  # noqa: PLC0415  transformers, for texts only

    size = bert_size(config.name)
    assert size is not None
    return Bert(
        size,
        vocabulary=_vocabulary(config),
        max_positions=config.max_positions,
        dropout=config.dropout,
        pooler=config.pooler,
    )


def build_clip_text(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build CLIP's encoder of texts."""
    size = clip_size(config.name, "text")
    assert size is not None
    places = config.max_positions
    return TextTransformer(
        size, vocabulary=_vocabulary(config), max_positions=places, gelu=config.gelu
    )


def build_clip_vit(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build CLIP's vision transformer."""
    size = clip_size(config.name, "vit")
    assert size is not None
    patch = patch_side(config)
    return ImageTransformer(size, image_size=image_size, patch_size=patch, gelu=config.gelu)


def build_clip_resnet(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build one of CLIP's ResNets."""
    return CLIPResNet(
        CLIP_RESNETS[config.name],
        image_size=image_size,
        width=config.width or 64,
        outputs=config.outputs,
    )


def _vocabulary(config: EncoderConfig) -> int:
    if config.vocabulary is None:
        what = "nothing says how many numbers there are for tokens"
        raise ConfigError(what, "encoder.vocabulary", "set it, or tokenizer.size")
    return config.vocabulary


def timm_options(name: str, image_size: int) -> dict[str, Any]:
    """Return the options of `timm.create_model` for a size, which transformers fix when built."""
    import timm  # noqa: PLC0415  half a second, for timm's models only

    options: dict[str, Any] = {"num_classes": 0}
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = image_size
    return options


def build_timm(config: EncoderConfig, image_size: int) -> nn.Module:
    """Build a model of timm, without its classifier."""
    import timm  # noqa: PLC0415  as above

    name = config.name.removeprefix("timm:")
    if not timm.is_model(name):
        nearest = get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"nearest: {', '.join('timm:' + near for near in nearest)}" if nearest else ""
        raise ConfigError(f"timm has no model {name!r}", "encoder.name", hint)
    try:
        encoder: Any = timm.create_model(name, **timm_options(name, image_size))
        encoder.feature_dim = _feature_dim(encoder, image_size)
    except Exception as error:  # each of a thousand models refuses a size in its own way
        reason = str(error).strip().split("\n")[0]
        what = f"timm's {name} does not map {image_size}-pixel images to vectors: {reason}"
        raise ConfigError(what, "encoder.name", "change data.image_size or the model") from error
    return encoder


@torch.no_grad()
def _feature_dim(encoder: nn.Module, image_size: int) -> int:
    """Run one image through: timm's `num_features` ignores the projection of some heads."""
    encoder.eval()
    shape = encoder(torch.zeros(1, 3, image_size, image_size)).shape
    encoder.train()
    if len(shape) != 2 or shape[1] == 0:
        raise ValueError(f"its output has shape {list(shape)}")
    return shape[1]
