"""Parts shared by methods that train on adversarial images: their range and their BatchNorms."""

import torch
from torch import Tensor, nn

from sslcli.config.pixels import Triple
from sslcli.errors import ConfigError
from sslcli.nn.norm import AuxiliaryNorms
from sslcli.perturb.ball import Ball


class Box(nn.Module):
    """The range that normalised images lie in, a value a channel.

    Args:
        ends: Black and white of each channel; None for images in [0, 1].
    """

    lowest: Tensor
    highest: Tensor

    def __init__(self, ends: tuple[Triple, Triple] | None) -> None:
        super().__init__()
        for name, end in zip(("lowest", "highest"), ends or ((0.0,) * 3, (1.0,) * 3), strict=True):
            self.register_buffer(name, torch.tensor(end).view(3, 1, 1), persistent=False)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest value, [3, 1, 1] each."""
        return self.lowest, self.highest

    @property
    def level(self) -> Tensor:
        """One of 255 levels of brightness, [3, 1, 1]."""
        return (self.highest - self.lowest) / 255

    def ball(self, radius: float | Tensor) -> Ball:
        """Return the images within a largest change, in normalised units."""
        return Ball("linf", radius, self.bounds)


def uniform_start(images: Tensor, radius: Tensor) -> Tensor:
    """Return images with uniform noise of up to the radius, which may leave their range."""
    return images + (2 * torch.rand_like(images) - 1) * radius


def auxiliary_norms(
    encoder: nn.Module, method: str, branches: int = 1, momentum: float | None = None
) -> AuxiliaryNorms:
    """Return auxiliary branches for an encoder's BatchNorms; arguments as `AuxiliaryNorms`.

    Raises:
        ConfigError: If it has no BatchNorm.
    """
    try:
        return AuxiliaryNorms(encoder, branches, momentum)
    except ValueError as error:
        what = f"{method} trains adversarial images by a BatchNorm of their own, and {error}"
        hint = 'take one such as resnet18; a wide ResNet has them with encoder.norm = "batch"'
        raise ConfigError(what, "encoder.name", hint) from error
