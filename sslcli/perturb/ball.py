"""The images near another one, in which attacks move: steps, projection and random starts."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Norm = Literal["linf", "l2"]
Value = float | Tensor  # a number, or tensors that broadcast, such as a value a channel
_TINY = 1e-30  # keeps a gradient of zero from being divided by its length


@dataclass(frozen=True)
class Ball:
    """All images of a range within a distance of another one.

    Attributes:
        norm: "linf" bounds the change of each value, "l2" the Euclidean length of all changes.
        radius: In the images' units.
        bounds: Range of the images; None for no bounds.
    """

    norm: Norm
    radius: Value
    bounds: tuple[Value, Value] | None = (0.0, 1.0)

    def project(
        self, x: Float[Tensor, "batch ..."], centre: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch ..."]:
        """Return the nearest change within the norm, cut to the range, which only shortens it."""
        change = x - centre
        if self.norm == "linf":
            change = _cut(change, -self.radius, self.radius)
        else:
            change = change * (self.radius / _length(change).clamp(min=_TINY)).clamp(max=1)
        return centre + change if self.bounds is None else _cut(centre + change, *self.bounds)

    def steepest(self, gradient: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the change of length 1 along which the loss rises most; 0 without a gradient."""
        if self.norm == "linf":
            return gradient.sign()
        peak = gradient.flatten(1).abs().amax(dim=1).view(-1, *[1] * (gradient.ndim - 1))
        even = gradient / peak.where(peak > 0, 1)  # whose squares neither vanish nor overflow
        return even / _length(even).clamp(min=_TINY)

    def move(
        self,
        x: Float[Tensor, "batch ..."],
        gradient: Float[Tensor, "batch ..."],
        step_size: Value,
        centre: Float[Tensor, "batch ..."],
    ) -> Float[Tensor, "batch ..."]:
        """Return x after a step up the gradient: project(x + step_size * steepest(gradient))."""
        return self.project(x + step_size * self.steepest(gradient), centre)

    def scatter(
        self, centre: Float[Tensor, "batch ..."], numbers: Float[Tensor, "batch values"]
    ) -> Float[Tensor, "batch ..."]:
        """Turn uniform numbers in [0, 1) into a random image of the ball.

        Uniform for "linf"; for "l2" on the sphere, near which nearly all of a ball of many
        dimensions lies.
        """
        numbers = numbers.view(centre.shape)
        if self.norm == "linf":
            return self.project(centre + (2 * numbers - 1) * self.radius, centre)
        normal = torch.special.ndtri(numbers.clamp(min=2**-25))  # 0 would be minus infinity
        return self.project(centre + self.radius * self.steepest(normal), centre)


def _cut(x: Tensor, lowest: Value, highest: Value) -> Tensor:
    """Clip x to a range whose ends are numbers, or tensors that broadcast."""
    if isinstance(lowest, Tensor) or isinstance(highest, Tensor):
        lowest, highest = torch.as_tensor(lowest).to(x), torch.as_tensor(highest).to(x)
        return torch.minimum(torch.maximum(x, lowest), highest)
    return x.clamp(lowest, highest)


def _length(change: Tensor) -> Tensor:
    """Return the Euclidean length of each image's change, [B, 1, ...]."""
    return change.flatten(1).norm(dim=1).view(-1, *[1] * (change.ndim - 1))
