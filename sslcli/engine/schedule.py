"""Rates as pure functions of the step, so that a resumed run needs no scheduler state."""

import math

from torch.optim import Optimizer

from sslcli.config.optimizers import OptimizerConfig, ScheduleConfig
from sslcli.config.schema import Config
from sslcli.methods.base import cosine


def lr_factor(config: ScheduleConfig, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """Return the factor on the base rate of the optimiser step that follows `step` others.

    Warm-up rises linearly from `warmup_start` at step 0. It would reach 1 at step W, its length,
    where the schedule itself begins. The cosine runs over what is left, (step - W) / (total_steps -
    W), as SimCLR, DINO, MoCo v3 and BYOL have it, and so does the line of BERT: they reach `final`
    at step `total_steps`, one after the last step. Milestones count from the start of the run, the
    drops of the exponential from step W, as TensorFlow's staircase does in SupCon's code. With
    granularity "epoch" every step of an epoch gets the factor of its first (SimSiam, MoCo v2).
    """
    if config.granularity == "epoch":
        step -= step % steps_per_epoch
    warmup = config.warmup.steps(steps_per_epoch, total_steps)
    if step < warmup:
        return config.warmup_start + (1 - config.warmup_start) * step / warmup
    if config.name == "cosine":
        return cosine(1.0, config.final, step - warmup, total_steps - warmup)
    if config.name == "linear":
        left = 1 - (step - warmup) / (total_steps - warmup)
        return config.final + (1 - config.final) * max(0.0, left)
    if config.name == "step":
        milestones = (m.steps(steps_per_epoch, total_steps) for m in config.milestones)
        return _decayed(config.gamma, sum(step >= milestone for milestone in milestones))
    if config.name == "exponential":
        assert config.decay_every is not None, "the section checks it"
        length = max(1, config.decay_every.steps(steps_per_epoch, total_steps))
        return _decayed(config.gamma, (step - warmup) // length)
    return 1.0


def _decayed(gamma: float | tuple[float, ...], times: int) -> float:
    """Return one factor to a power, or the product of the first ones of a list."""
    return math.prod(gamma[:times], start=1.0) if isinstance(gamma, tuple) else gamma**times


def weight_decay(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Return the weight decay at `step`, a cosine to `weight_decay_end` if there is one (DINO)."""
    if config.weight_decay_end is None:
        return config.weight_decay
    return cosine(config.weight_decay, config.weight_decay_end, step, total_steps)


def set_rates(
    optimizer: Optimizer, config: Config, step: int, total_steps: int, steps_per_epoch: int
) -> None:
    """Write a step's rates into the groups that `engine.optim.build_optimizer` made.

    Groups of constant rate keep their base rate; groups that do not decay keep a decay of zero.
    """
    factor = lr_factor(config.schedule, step, total_steps, steps_per_epoch)
    decay = weight_decay(config.optimizer, step, total_steps)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * (1.0 if group["constant_lr"] else factor)
        group["weight_decay"] = decay if group["decay"] else 0.0
