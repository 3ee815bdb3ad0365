"""Bound gradients by their own history, as IGEBM's authors do."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GradientClamp(nn.Module):
    """Clamp each element of a gradient to +-(sigmas * sqrt(v / (1 - decay^t)) + floor).

    v is the running mean of squares of the clamped gradients before this step, t this step, from
    1 on: with the optimiser's second beta as `decay` v is Adam's second moment, divided as Adam
    does once this gradient is in (openai/ebm_code_release, custom_adam.py, `_apply_dense`). The
    first step's bound is the floor.

    Args:
        parameters: Those to clamp, always in this order.
        sigmas: Factor of the root.
        floor: Least bound.
        decay: Of the running mean.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], *, sigmas: float, floor: float, decay: float
    ) -> None:
        super().__init__()
        self.sigmas, self.floor, self.decay = sigmas, floor, decay
        self.register_buffer("steps", torch.zeros(()))
        for index, parameter in enumerate(parameters):
            self.register_buffer(f"square{index}", torch.zeros_like(parameter))

    @torch.no_grad()
    def forward(self, parameters: Sequence[nn.Parameter]) -> None:
        """Clamp the gradients in place and remember their squares."""
        steps = self.get_buffer("steps")  # those before
        seen = 1 - self.decay ** (steps + 1)
        for index, parameter in enumerate(parameters):
            if parameter.grad is None:
                continue
            square = self.get_buffer(f"square{index}")
            bound = self.sigmas * (square / seen).sqrt() + self.floor
            parameter.grad.copy_(clamp_to(parameter.grad, bound))
            square.lerp_(parameter.grad.square(), 1 - self.decay)
        steps += 1


def clamp_to(values: Tensor, bound: Tensor) -> Tensor:
    """Clamp each value to its own bound on either side of zero."""
    return torch.minimum(torch.maximum(values, -bound), bound)
