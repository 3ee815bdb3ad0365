"""Stochastic gradient Langevin dynamics on images: move x up a log-density, with noise."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Langevin:
    """x <- clip(x + step_size * clamp(grad log p(x)) + noise * N(0, I)), `steps` times.

    The papers' samplers are noisy gradient ascent: their noise is far below the sqrt(2 step_size)
    of calibrated Langevin dynamics, and sqrt(temperature) = noise / sqrt(2 step_size).

    Attributes:
        steps: Number of updates; 0 returns the start.
        step_size: Of the gradient, in the images' range.
        noise: Standard deviation, in the images' range.
        noise_first: Add the noise before the gradient is taken (IGEBM) rather than after (JEM).
        gradient_clamp: Bound of each element of the gradient.
        bounds: Range that x is clipped to.
    """

    steps: int
    step_size: float
    noise: float
    noise_first: bool = False
    gradient_clamp: float | None = None
    bounds: tuple[float, float] | None = None

    @property
    def temperature(self) -> float:
        """Temperature of the density that small steps without clips would sample from."""
        return self.noise**2 / (2 * self.step_size)


@dataclass(frozen=True)
class Chain:
    """The ends and the course of chains.

    Attributes:
        samples: [B, ...] float32; detached unless the chain was to be differentiated.
        log_density: At each step, before it, [steps, B]; detached.
        gradient_norm: Mean norm of the last step's gradient before its clamp, scalar, detached.
    """

    samples: Tensor
    log_density: Tensor
    gradient_norm: Tensor


def sgld(
    log_density: LogDensity,
    start: Float[Tensor, "batch ..."],
    settings: Langevin,
    *,
    differentiable: bool = False,
    after_step: Callable[[int], object] | None = None,
) -> Chain:
    """Run one chain from each start; chains are independent if the network treats images so.

    Only the gradient of the images is computed, never that of weights. Updates are in float32 (in
    float64 for a float64 start) whatever autocast makes of the network.

    Args:
        log_density: Maps images [B, ...] to unnormalised log-densities [B].
        start: Where chains begin, [B, ...].
        settings: The sampler.
        differentiable: Keep the graph of the whole chain, for IGEBM's KL term.
        after_step: Called with the number of steps done, for a progress bar; the device is not
            waited for.

    Returns:
        The chains' ends; the graph is kept only if `differentiable`.
    """
    x = start.detach().to(torch.promote_types(start.dtype, torch.float32))
    history, norm = [], x.new_zeros(())
    for step in range(settings.steps):
        if settings.noise_first:
            x = _noisy(x, settings)
        x, value, norm = _ascend(log_density, x, settings, differentiable=differentiable)
        if not settings.noise_first:
            x = _noisy(x, settings)
        if settings.bounds:
            x = x.clamp(*settings.bounds)
        history.append(value)
        if after_step:
            after_step(step + 1)
    values = torch.stack(history) if history else x.new_zeros(0, len(x))
    return Chain(x if differentiable else x.detach(), values, norm)


def _ascend(
    log_density: LogDensity, x: Tensor, settings: Langevin, *, differentiable: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return x after a gradient step, log-densities [B] before it, and the mean gradient norm."""
    with torch.enable_grad():
        x = x if differentiable and x.requires_grad else x.detach().requires_grad_()
        value = log_density(x)  # [B]
        (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=differentiable)
        gradient = gradient.to(x.dtype)
        norm = gradient.detach().flatten(1).norm(dim=1).mean()
        if settings.gradient_clamp:
            gradient = gradient.clamp(-settings.gradient_clamp, settings.gradient_clamp)
        moved = x + settings.step_size * gradient
    return moved if differentiable else moved.detach(), value.detach().float(), norm


def _noisy(x: Tensor, settings: Langevin) -> Tensor:
    return x + settings.noise * torch.randn_like(x) if settings.noise else x
