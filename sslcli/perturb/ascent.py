"""Gradient ascent on images: a few signed steps up any loss, within a ball and a range.

FGSM (Goodfellow et al. 2015, arXiv:1412.6572) is one step of the radius, PGD (Madry et al. 2018,
arXiv:1706.06083) several smaller ones. Attacks that judge each image by itself, keep its best and
restart are in `perturb.adversarial`; both move in the same `Ball`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sslcli.perturb.ball import Ball, Value


def ascend(
    loss: Callable[[Tensor], Tensor],
    images: Float[Tensor, "batch ..."],
    radius: Value,
    step_size: Value,
    steps: int,
    start: Float[Tensor, "batch ..."] | None = None,
    bounds: tuple[Value, Value] | None = (0.0, 1.0),
) -> Float[Tensor, "batch ..."]:
    """Move images up a loss: x <- bounds(ball(x + step_size * sign(gradient))).

    The last x is returned. Only the gradient of the images is computed, never that of weights.
    Updates are in float32 at least, whatever autocast makes of the network.

    Args:
        loss: Maps images to a scalar or to [B]; that of an image may depend on the others.
        images: The centres of the balls, [B, ...].
        radius: Largest change of a value, in the images' units.
        step_size: Change of a value in one step.
        steps: Their number; 0 returns the start.
        start: Where to begin, which is not cut before the first gradient; None for the images.
        bounds: Range that x is clipped to after each step; None for no range.

    Returns:
        The images, detached, [B, ...].
    """
    kind = torch.promote_types(images.dtype, torch.float32)
    centre = images.detach().to(kind)
    x = centre if start is None else start.detach().to(kind)
    ball = Ball("linf", radius, bounds)
    for _ in range(steps):
        x = ball.move(x, _gradient(loss, x), step_size, centre)
    return x


def _gradient(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient of a loss with respect to x."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf).sum(), leaf)
    return gradient
