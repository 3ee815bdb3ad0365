"""Several networks that each see some channels of an image, such as CMC's L and ab."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.encoder import Channel
from sslcli.nn.read_out import HasLayers

_SMOOTHED_STEP = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))  # Sobel's


class Channels(nn.Module):
    """Take some channels of images; "dx" and "dy" are Sobel's gradients of channel 0.

    Args:
        part: Which, in the order of the output.
    """

    sobel: Tensor

    def __init__(self, part: Sequence[Channel]) -> None:
        super().__init__()
        self.part = tuple(part)
        across = torch.tensor(_SMOOTHED_STEP) / 4  # the mean difference of pixels two apart
        self.register_buffer("sobel", torch.stack([across, across.T])[:, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, len(part), H, W]."""
        planes: dict[Channel, Tensor] = dict(zip((0, 1, 2), images.split(1, dim=1), strict=True))
        if {"dx", "dy"} & set(self.part):
            padded = functional.pad(planes[0], (1, 1, 1, 1), mode="replicate")
            edges = functional.conv2d(padded, self.sobel.to(padded.dtype))
            planes |= zip(("dx", "dy"), edges.split(1, dim=1), strict=True)
        return torch.cat([planes[channel] for channel in self.part], dim=1)

    def extra_repr(self) -> str:
        """Show the channels, which the weights do not tell."""
        return ", ".join(map(str, self.part))


class SplitEncoder(nn.Module):
    """Show each network its channels, and join their features (Tian et al. 2020, arXiv:1906.05849).

    Args:
        split: The channels of each network.
        towers: The networks, each with `feature_dim`; no weights are shared.
    """

    def __init__(self, split: Sequence[Sequence[Channel]], towers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.views = nn.ModuleList(Channels(part) for part in split)
        self.towers: Any = nn.ModuleList(towers)
        self.feature_dim = sum(self.dims)

    @property
    def dims(self) -> list[int]:
        """Entries of each network's features."""
        return [tower.feature_dim for tower in self.towers]

    def forward(self, images: Tensor, *others: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to the features of all networks, [B, feature_dim].

        Several crops of the same images are shown to the networks in turn.
        """
        shown = zip(cycle((images, *others)), self.views, self.towers, strict=False)
        return torch.cat([tower(view(crop)) for crop, view, tower in shown], dim=1)

    @property
    def layer_dims(self) -> dict[int, int]:
        """Entries of the layers that all networks have, side by side."""
        found = [tower.layer_dims if isinstance(tower, HasLayers) else {} for tower in self.towers]
        return {number: sum(each[number] for each in found) for number in found[0]}

    def layer(self, images: Tensor, number: int) -> Tensor:
        """Return the same layer of all networks, [B, D]."""
        pairs = zip(self.views, self.towers, strict=True)
        return torch.cat([tower.layer(view(images), number) for view, tower in pairs], dim=1)
