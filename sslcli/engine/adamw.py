"""AdamW whose moments are taken as they are, as the first transformers' own AdamW could."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class UncorrectedAdamW(torch.optim.Optimizer):
    """Adam's step without the correction of its first moments, then decay.

    With gradient g, m <- b1 m + (1 - b1) g and v <- b2 v + (1 - b2) g^2, a weight w becomes
    w - lr m / (sqrt(v) + eps), and of that lr lam is taken off (lam is the weight decay). Adam
    divides m by 1 - b1^t and v by 1 - b2^t, so that the first step is lr; here, with the usual
    betas, it is 3.16 lr, and steps come down to Adam's within some thousand. A parameter without a
    gradient is left alone.

    Args:
        params: Parameters, or groups of them.
        lr: Rate.
        betas: b1 and b2.
        eps: Added to the root.
        weight_decay: lam above.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)
        return loss

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move one parameter in place."""
        state = self.state[weight]
        for name in ("exp_avg", "exp_avg_sq"):
            if name not in state:
                state[name] = torch.zeros_like(weight)
        first, second = group["betas"]
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        root = state["exp_avg_sq"].sqrt().add_(group["eps"])
        weight.addcdiv_(state["exp_avg"], root, value=-group["lr"])
        weight.mul_(1 - group["lr"] * group["weight_decay"])
