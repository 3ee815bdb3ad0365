"""Layer-wise adaptive rate scaling (You et al. 2017, arXiv:1708.03888) in the forms papers use."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

# apex's LARC adds this to the denominator of its quotient.
_EPSILON = 1e-8


class LARS(torch.optim.Optimizer):
    """Scale each tensor's step to its weight norm; then momentum.

    With weight w, gradient g, decay lam and d = g + lam w, the quotient q is

    - "norm-of-sum": trust |w| / |d|, as SimCLR, BYOL and MoCo v3 have it;
    - "sum-of-norms": trust |w| / (|g| + lam |w|), as apex's LARC (SwAV), solo and lightly have it.

    A tensor of zero norm moves by plain lr * g, so that biases that start at zero do move. In the
    sum-of-norms form a tensor whose gradient is zero is not decayed either, as in LARC. A parameter
    without a gradient is left alone entirely: no decay, no momentum. The norms stay on the device,
    so a step never waits for them.

    Args:
        params: Parameters, or groups of them; a group may set `trust`, 0 for no adaptation.
        lr: Rate.
        momentum: Factor of the momentum buffer.
        weight_decay: lam above.
        trust: Share of its own norm that a tensor moves at rate 1, often 1e-3.
        form: The quotient's form.
        lr_in_momentum: Put the rate inside the buffer (SimCLR's TensorFlow code): after a change of
            rate, earlier gradients keep the rate of their own step.
        clip_rate: Let q * lr not exceed lr, that is q <- min(q / lr, 1), as LARC's clip does: the
            adapted rate is then min(q, lr).
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        form: Literal["norm-of-sum", "sum-of-norms"] = "norm-of-sum",
        lr_in_momentum: bool = False,
        clip_rate: bool = False,
    ) -> None:
        if form not in ("norm-of-sum", "sum-of-norms"):
            raise ValueError(f"form must be norm-of-sum or sum-of-norms, got {form!r}")
        defaults = {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust,
            "form": form, "lr_in_momentum": lr_in_momentum, "clip_rate": clip_rate,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step_group(parameters, group)
        return loss

    def _step_group(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        decay = group["weight_decay"]
        updates = list(torch._foreach_add(gradients, parameters, alpha=decay))
        if group["trust"]:
            _adapt(updates, parameters, gradients, group)
        buffers = [self._buffer(p) for p in parameters]
        inner, outer = (group["lr"], 1.0) if group["lr_in_momentum"] else (1.0, group["lr"])
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, updates, alpha=inner)
        torch._foreach_add_(parameters, buffers, alpha=-outer)

    def _buffer(self, parameter: Tensor) -> Tensor:
        state: dict[str, Tensor] = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def _adapt(
    updates: list[Tensor],
    parameters: list[Tensor],
    gradients: list[Tensor],
    group: dict[str, Any],
) -> None:
    """Multiply every update by its q, in place."""
    weight = torch.stack(torch._foreach_norm(parameters))  # [T], T tensors
    if group["form"] == "norm-of-sum":
        gradient = bound = torch.stack(torch._foreach_norm(updates))
    else:
        gradient = torch.stack(torch._foreach_norm(gradients))
        bound = gradient + group["weight_decay"] * weight + _EPSILON
    quotient = group["trust"] * weight / bound
    if group["clip_rate"]:
        quotient = (quotient / group["lr"]).clamp(max=1)
    moving = gradient != 0  # true of NaN as well, which then shows in every weight
    quotient = torch.where(moving & (weight != 0), quotient, moving.to(quotient))
    torch._foreach_mul_(updates, list(quotient.unbind()))
