"""Build the optimiser a config names, and clip gradients."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from sslcli.config.optimizers import (
    AdamConfig,
    LARSConfig,
    OptimizerConfig,
    RMSPropConfig,
    SGDConfig,
)
from sslcli.engine.adamw import UncorrectedAdamW
from sslcli.engine.lars import LARS
from sslcli.methods.base import ParamGroup

Named = tuple[str, nn.Parameter]
Group = dict[str, Any]


def scaled_lr(config: OptimizerConfig, global_batch: int) -> float:
    """Return the base rate for a global batch, accumulation and processes included."""
    power = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}[config.lr_scaling]
    return float(config.base_lr * (global_batch / 256) ** power)


def build_optimizer(
    method_groups: Iterable[ParamGroup], config: OptimizerConfig, global_batch: int
) -> Optimizer:
    """Build the optimiser, each method's group split by what is excluded from decay and trust.

    Every group carries `base_lr`, `constant_lr` and `decay` for `engine.schedule.set_rates`.

    torch picks foreach kernels on CUDA and its loop on the CPU. Fused kernels are not asked for:
    they walk raw memory, so a gradient or buffer laid out unlike its channels_last weight is read
    at the wrong elements, silently; and fused SGD fails on a parameter whose first gradient comes
    later than its neighbours' (torch 2.14).
    """
    lr = scaled_lr(config, global_batch)
    groups = [
        {**split, **_rates(group, lr)} for group in method_groups for split in _split(group, config)
    ]
    optimizer = _make(groups, lr, config)
    optimizer.register_load_state_dict_post_hook(_match_layout)
    return optimizer


def _rates(group: ParamGroup, lr: float) -> Group:
    own = lr * group.lr_scale
    return {"lr": own, "base_lr": own, "constant_lr": group.constant_lr}


def _make(groups: list[Group], lr: float, config: OptimizerConfig) -> Optimizer:
    if isinstance(config, SGDConfig):
        return SGD(groups, lr, momentum=config.momentum, nesterov=config.nesterov)
    if isinstance(config, AdamConfig):
        kind = Adam if config.name == "adam" else AdamW
        if not config.correct_bias:
            return UncorrectedAdamW(groups, lr, betas=config.betas, eps=config.eps)
        return kind(groups, lr, betas=config.betas, eps=config.eps)
    if isinstance(config, LARSConfig):
        names = ("momentum", "trust", "form", "lr_in_momentum", "clip_rate")
        return LARS(groups, lr, **{name: getattr(config, name) for name in names})
    if isinstance(config, RMSPropConfig):
        from timm.optim import RMSpropTF  # noqa: PLC0415  half a second for those who use it

        # Equal to TensorFlow's update: the root is of (mean square + eps), which starts at 1, and
        # the rate is inside the momentum buffer. torch's differs in all three.
        return RMSpropTF(groups, lr, alpha=config.decay, eps=config.eps, momentum=config.momentum)
    raise ValueError(f"no optimiser for {type(config).__name__}")


def _split(group: ParamGroup, config: OptimizerConfig) -> Iterator[Group]:
    """Yield groups of one method group, by (decays, adapts), in the order of first appearance."""
    named = group.named
    undecayed = excluded(named, config.exclude_from_decay if group.decays else "all")
    unadapted = excluded(named, getattr(config, "exclude_from_trust", "none"))
    members: dict[tuple[bool, bool], list[Named]] = {}
    for name, parameter in named:
        kind = (name not in undecayed, name not in unadapted)
        members.setdefault(kind, []).append((name, parameter))
    for (decays, adapts), pairs in members.items():
        decay = config.weight_decay if decays else 0.0
        made: Group = {"params": pairs, "decay": decays, "weight_decay": decay}
        if isinstance(config, LARSConfig):
            made["trust"] = config.trust if adapts else 0.0
        yield made


def excluded(named: Iterable[Named], rule: str) -> set[str]:
    """Return the names of the parameters that a rule leaves out.

    Args:
        named: Full names and parameters.
        rule: "none"; "all"; "bias-and-norm", every tensor of at most one dimension, as MoCo v3 and
            DINO have it, which equals the lists of names of SimCLR and BYOL; or "norm", weight and
            bias of the modules whose weight has one dimension, which normalisations alone have.
    """
    pairs = list(named)
    flat = {name for name, parameter in pairs if parameter.ndim <= 1}
    if rule in ("none", "all"):
        return {name for name, _ in pairs} if rule == "all" else set()
    if rule == "bias-and-norm":
        return flat
    norms = {name.removesuffix("weight") for name in flat if name.endswith("weight")}
    return {name for name in flat if name[: name.rfind(".") + 1] in norms}


def _match_layout(optimizer: Optimizer) -> None:
    """Give restored buffers the memory layout of their parameters; files keep only the values."""
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.ndim and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], config: OptimizerConfig) -> Tensor | None:
    """Clip gradients in place to `clip_norm`, together or each by itself (DINO).

    Returns:
        The global norm before clipping, a scalar left on the device; None without clipping.
    """
    if config.clip_norm is None:
        return None
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack(torch._foreach_norm(gradients))  # [T]
    total: Tensor = torch.linalg.vector_norm(norms)
    limited = norms if config.clip_each else total.expand_as(norms)
    factors = (config.clip_norm / (limited + 1e-6)).clamp(max=1)
    torch._foreach_mul_(gradients, list(factors.unbind()))
    return total
