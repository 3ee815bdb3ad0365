"""The features that an evaluation takes from a network: its output, tokens, maps, or a head's."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.section import LAST_TOKENS, LAYER
from sslcli.errors import ConfigError


@runtime_checkable
class HasMaps(Protocol):
    """An encoder that shows the maps of its layers."""

    @property
    def channels(self) -> Sequence[int]:
        """The channels of each layer's maps."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of each layer, [B, C, H, W], for images [B, 3, H, W]."""


@runtime_checkable
class HasLayers(Protocol):
    """An encoder with layers that are probed, by the numbers of a paper."""

    @property
    def layer_dims(self) -> Mapping[int, int]:
        """The entries of each layer's features, by its number."""

    def layer(self, images: Tensor, number: int) -> Tensor:
        """Return the features of one of them, [B, D]."""


@runtime_checkable
class HasTokens(Protocol):
    """An encoder that shows the tokens behind its blocks, the class token first."""

    feature_dim: int

    @property
    def depth(self) -> int:
        """The number of blocks."""

    def last_tokens(self, images: Tensor, count: int) -> list[Tensor]:
        """Return the normed tokens of each of the last blocks, [B, 1 + N, D], for images."""


@runtime_checkable
class ShowsBlocks(Protocol):
    """One of timm's transformers."""

    cls_token: Tensor | None
    embed_dim: int
    blocks: nn.Module

    def forward_intermediates(self, x: Tensor, **options: Any) -> Any:
        """Return what follows each of the blocks asked for."""


class TimmTokens(nn.Module):
    """Show the tokens of one of timm's vision transformers as our own networks do.

    Args:
        network: One that `tokens_of` has looked at.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.feature_dim, self.depth = network, network.embed_dim, len(network.blocks)

    def last_tokens(self, images: Tensor, count: int) -> list[Tensor]:
        """Return the normed tokens of each of the last blocks, without registers, [B, 1 + N, D]."""
        layers = self.network.forward_intermediates(
            images, indices=count, return_prefix_tokens=True, norm=True, output_fmt="NLC",
            intermediates_only=True,
        )  # fmt: skip
        return [torch.cat([first[:, :1], patches], dim=1) for patches, first in layers]


def tokens_of(encoder: nn.Module) -> HasTokens | None:
    """Return an encoder that shows its tokens, or a view of timm's that does; None without any."""
    if isinstance(encoder, HasTokens):
        return encoder
    if not isinstance(encoder, ShowsBlocks) or encoder.cls_token is None:
        return None
    options = signature(encoder.forward_intermediates).parameters
    return TimmTokens(encoder) if "return_prefix_tokens" in options else None


class QuadrantFeatures(nn.Module):
    """Pool each layer's maps over the four quadrants of the image, and join them.

    Dosovitskiy et al. 2014, arXiv:1406.6909, section 3.2.

    Args:
        network: Trained; used in evaluation.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        assert isinstance(network, HasMaps)
        self.network: Any = network
        self.feature_dim = 4 * sum(network.channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, feature_dim]."""
        pooled = [functional.adaptive_max_pool2d(maps, 2) for maps in self.network.maps(images)]
        return torch.cat([quadrants.flatten(1) for quadrants in pooled], dim=1)


class TokenFeatures(nn.Module):
    """Join the class tokens of the last blocks, and the mean of the last patches' tokens.

    Caron et al. 2021, arXiv:2104.14294, appendix F.2: four blocks of ViT-S, and of ViT-B one with
    the patches. In the official code (eval_linear.py) the numbers of token and mean take turns.

    Args:
        network: A vision transformer.
        count: Blocks.
        patches: Whether the patches are read.
    """

    def __init__(self, network: HasTokens, count: int, *, patches: bool) -> None:
        super().__init__()
        self.network = network
        self.count, self.patches = count, patches
        self.feature_dim = network.feature_dim * (count + patches)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, feature_dim], the deepest block last."""
        tokens = self.network.last_tokens(images, self.count)
        parts = [each[:, 0] for each in tokens]  # [B, D] a block
        if self.patches:
            parts.append(tokens[-1][:, 1:].mean(dim=1))
        return torch.cat(parts, dim=1)

    def extra_repr(self) -> str:
        """Show what is read, which the weights do not tell."""
        return f"count={self.count}, patches={self.patches}"


class LayerFeatures(nn.Module):
    """Read a layer as CMC's linear probe does (Tian et al. 2020, arXiv:1906.05849).

    Args:
        network: An encoder with that layer.
        number: Of the layer.
    """

    def __init__(self, network: nn.Module, number: int) -> None:
        super().__init__()
        assert isinstance(network, HasLayers)
        self.network: Any = network
        self.number, self.feature_dim = number, network.layer_dims[number]

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, feature_dim]."""
        features: Tensor = self.network.layer(images, self.number)
        return features

    def extra_repr(self) -> str:
        """Show what is read, which the weights do not tell."""
        return f"number={self.number}"


class HeadFeatures(nn.Module):
    """Run the projection head behind the encoder.

    Args:
        network: The encoder.
        head: Linear layers with norms and activations between them.
    """

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network: Any = network
        self.head = head
        layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
        self.feature_dim = layers[-1].out_features if layers else network.feature_dim

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map what the encoder reads to [B, feature_dim]."""
        features: Tensor = self.head(self.network(*inputs))
        return features


def read_out(encoder: nn.Module, features: str, head: nn.Module | None = None) -> Any:
    """Return what an evaluation runs: the encoder itself, or a network that reads more out of it.

    Args:
        encoder: The kept network.
        features: The name of what is read, as `ReadOut` has it.
        head: The method's projection head, where it has one.

    Raises:
        ConfigError: If the network has nothing of that name, with what it has.
    """
    if features == "encoder":
        return encoder
    made: nn.Module | None = None
    match, layer = LAST_TOKENS.fullmatch(features), LAYER.fullmatch(features)
    tokens = tokens_of(encoder)
    if features == "quadrants" and isinstance(encoder, HasMaps):
        made = QuadrantFeatures(encoder)
    elif features == "head" and head is not None:
        made = HeadFeatures(encoder, head)
    elif match and tokens and int(match[1]) <= tokens.depth:
        made = TokenFeatures(tokens, int(match[1]), patches=bool(match[2]))
    elif layer and isinstance(encoder, HasLayers) and int(layer[1]) in encoder.layer_dims:
        made = LayerFeatures(encoder, int(layer[1]))
    if made is None:
        what = f"this network has no {features} to read out"
        where = "evaluation.features or linear_features"
        raise ConfigError(what, where, f"it has {_there_is(encoder, head)}")
    made.training = encoder.training  # its own mode alone: parts of a method may differ in theirs
    return made


def _there_is(encoder: nn.Module, head: nn.Module | None) -> str:
    """Say what can be read out of a network."""
    found = ["encoder"] + (["head"] if head is not None else [])
    if isinstance(encoder, HasMaps):
        found.append("quadrants")
    if isinstance(encoder, HasLayers):
        found += [f"layer-{number}" for number in encoder.layer_dims]
    if tokens := tokens_of(encoder):
        found.append(f"last-1 to last-{tokens.depth}, each with +patches too")
    return ", ".join(found)
