"""An encoder that cuts images into overlapping patches and runs one network over each (CPC)."""

from typing import Any

from torch import Tensor, nn

from sslcli.config.encoder import fitting_sizes
from sslcli.errors import ConfigError


class PatchEncoder(nn.Module):
    """Give each patch of an image its features; an image's own are their mean.

    Van den Oord et al. 2018 (arXiv:1807.03748, section 3.2): the patches go through the network as
    one batch, so that none sees another, unless the network has BatchNorm.

    Attributes:
        network: Maps patches [N, 3, s, s] to [N, network.feature_dim].
        side: Of a patch, in pixels.
        stride: From patch to patch, in pixels.
        feature_dim: That of the network.

    Args:
        network: See above.
        side: See above.
        stride: See above.
    """

    def __init__(self, network: Any, side: int, stride: int) -> None:
        super().__init__()
        self.network, self.side, self.stride = network, side, stride
        self.feature_dim: int = network.feature_dim

    @property
    def channels(self) -> list[int]:
        """The channels of the grid, the only layer that `maps` shows."""
        return [self.feature_dim]

    def patches(self, images: Tensor) -> Tensor:
        """Return the patches of images [B, 3, H, W] as a view of them, [B, G, G, 3, s, s].

        Raises:
            ConfigError: If the patches do not cover the images evenly.
        """
        size, side, stride = images.shape[-1], self.side, self.stride
        if fits := fitting_sizes(size, side, stride):
            what = f"patches of {side} pixels every {stride} do not cover {size} pixels evenly"
            hint = f"make views of {fits[0]} or {fits[1]} pixels"
            raise ConfigError(what, "encoder.patch_stride", hint)
        cells = images.unfold(2, self.side, self.stride).unfold(3, self.side, self.stride)
        return cells.permute(0, 2, 3, 1, 4, 5)

    def grid(self, view: Tensor) -> Tensor:
        """Return the features of every patch, [B, feature_dim, G, G].

        Args:
            view: Images [B, 3, H, W], or their patches [B, G, G, 3, s, s].
        """
        cells = self.patches(view) if view.dim() == 4 else view
        count, rows, columns = cells.shape[:3]
        last = cells.permute(0, 1, 2, 4, 5, 3)  # one copy, of patches in channels_last
        batch = last.reshape(-1, *last.shape[3:]).permute(0, 3, 1, 2)  # [B * G * G, 3, s, s]
        features: Tensor = self.network(batch)
        return features.view(count, rows, columns, -1).permute(0, 3, 1, 2)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the grid, [B, feature_dim, G, G]."""
        return [self.grid(images)]

    def forward(self, view: Tensor) -> Tensor:
        """Map what `grid` takes to [B, feature_dim]."""
        return self.grid(view).mean(dim=(2, 3))

    def extra_repr(self) -> str:
        """Show how images are cut, which the weights do not tell."""
        return f"side={self.side}, stride={self.stride}"
