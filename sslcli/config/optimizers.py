"""Sections of the optimisers and of the schedule of their learning rate."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslcli.config.duration import Duration
from sslcli.config.section import Fraction, Positive, Section

_MOST = 1e30  # times batch / 256, and over Adam's first correction, it stays in float32
Rate = Annotated[float, Field(gt=0, le=_MOST)]
Decay = Annotated[float, Field(ge=0, le=_MOST)]


class OptimizerConfig(Section):
    """Fields of every optimiser.

    The rate of a run is `base_lr`, times batch / 256 when `lr_scaling` is "linear", times
    sqrt(batch / 256) when "sqrt"; the batch is the global one, accumulation and processes included.
    """

    base_lr: Rate
    lr_scaling: Literal["linear", "sqrt", "none"]
    weight_decay: Decay
    weight_decay_end: Decay | None = Field(
        default=None, description="Cosine from weight_decay to this value over the run."
    )
    exclude_from_decay: Literal["none", "norm", "bias-and-norm"] = "none"
    clip_norm: Positive | None = None
    clip_each: bool = Field(
        default=False, description="Clip each parameter's norm rather than the global norm (DINO)."
    )


class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool = False


class AdamConfig(OptimizerConfig):
    """Adam, or AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"]
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.999,
    )
    eps: Positive = 1e-8
    correct_bias: bool = Field(
        default=True,
        description="Divide the moments by what their first steps lack; without it (adamw alone) "
        "the first steps are larger, as in codes of 2020 with correct_bias=False.",
    )

    @model_validator(mode="after")
    def _check(self) -> "AdamConfig":
        if self.name == "adam" and not self.correct_bias:
            raise ValueError("correct_bias = false goes with adamw")
        return self


class LARSConfig(OptimizerConfig):
    """Layer-wise adaptive rates (You et al. 2017); see `engine.optim.LARS` for the forms."""

    name: Literal["lars"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    trust: Positive
    form: Literal["norm-of-sum", "sum-of-norms"] = "norm-of-sum"
    lr_in_momentum: bool = Field(
        default=False, description="Put the rate inside the momentum buffer, as SimCLR's code does."
    )
    clip_rate: bool = Field(
        default=False, description="Let no adapted rate exceed the plain one (LARC's clip)."
    )
    exclude_from_trust: Literal["none", "norm", "bias-and-norm"] = "bias-and-norm"


class RMSPropConfig(OptimizerConfig):
    """RMSProp as TensorFlow has it, momentum included: mean squares start at 1."""

    name: Literal["rmsprop"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    decay: Annotated[float, Field(ge=0, lt=1)] = Field(description="Of the mean squares.")
    eps: Positive = Field(description="Added to the mean squares, inside the root.")


Optimizer = Annotated[
    SGDConfig | AdamConfig | LARSConfig | RMSPropConfig, Field(discriminator="name")
]


class ScheduleConfig(Section):
    """The learning rate as a function of the step: linear warm-up, then `name`."""

    name: Literal["cosine", "linear", "step", "exponential", "constant"]
    warmup: Duration = Duration("0 epochs")
    warmup_start: Fraction = Field(default=0.0, description="Factor of the rate at the first step.")
    final: Fraction = Field(
        default=0.0, description="Factor of the rate that a cosine or a line ends at."
    )
    milestones: tuple[Duration, ...] = ()
    gamma: Fraction | tuple[Fraction, ...] = Field(
        default=0.1, description="Factor of the rate at every milestone, or one a milestone."
    )
    decay_every: Duration | None = Field(
        default=None,
        description='"exponential" multiplies the rate by gamma each time, counted from warm-up.',
    )
    granularity: Literal["step", "epoch"] = Field(
        default="step", description='"epoch" holds the rate still within an epoch.'
    )

    @model_validator(mode="after")
    def _check(self) -> "ScheduleConfig":
        if (self.name == "exponential") != (self.decay_every is not None):
            raise ValueError('decay_every belongs to name = "exponential", which needs it')
        if self.decay_every is not None and not self.decay_every.amount:
            raise ValueError("decay_every must be longer than nothing")
        steps = len(self.milestones) if self.name == "step" else None
        if isinstance(self.gamma, tuple) and len(self.gamma) != steps:
            raise ValueError("a list of gammas has one factor for each milestone of a step")
        return self
