"""Sections of the energy-based methods: sampler, replay buffer, weights of the terms.

Without data they train on the 8-pixel digits and not on the scenes: a step makes many passes, which
take 16 times as long there, and the scenes' grain, new in each picture, has nothing to sample.
"""

from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from sslcli.config.section import (
    Count,
    DataFacts,
    Features,
    Fraction,
    MethodSection,
    NoisySection,
    NonNegative,
    Positive,
    Section,
    check_classes,
)
from sslcli.errors import ConfigError

# JEM, IGEBM and their successors keep 10,000; the bound keeps a buffer of images in 64 bits.
Slots = Annotated[int, Field(ge=1, le=2**24)]


class SamplerConfig(Section):
    """Stochastic gradient Langevin dynamics on the image, in the range the data is normalised to.

    Each of `steps` updates is x <- clip(x + step_size * clamp(grad log p) + noise * N(0, I)). With
    a gradient clamp, bounds and no noise it is the proximal sampler of JEM++, to which that paper's
    PYLD is equal.
    """

    steps: Count
    step_size: Positive
    noise: NonNegative
    noise_first: bool = Field(
        default=False, description="Add the noise before the gradient is taken (IGEBM), not after."
    )
    gradient_clamp: Positive | None = Field(
        default=None, description="Bound of each element of the gradient."
    )
    bounds: tuple[float, float] | None = Field(
        default=None, description="Range that x is clipped to after each step."
    )

    @model_validator(mode="after")
    def _check(self) -> "SamplerConfig":
        if self.bounds and self.bounds[0] >= self.bounds[1]:
            raise ValueError("bounds must rise from the first to the second number")
        return self


class ReplayConfig(Section):
    """The starts of chains: samples of earlier steps, or fresh ones.

    A `restart` of 1 starts every chain afresh, as short-run sampling does.
    """

    size: Slots
    image_size: Count = Field(description="Side of the images kept, which is that of the views.")
    restart: Fraction = Field(description="Share of chains that start afresh.")
    start: Literal["uniform", "class-gaussian"] = Field(
        default="uniform",
        description="Fresh starts: uniform in `range`, or a Gaussian fitted to a class's images.",
    )
    range: tuple[float, float] = Field(description="Of uniform starts.")
    class_images: Annotated[int, Field(ge=2, le=2**20)] = Field(
        default=100, description="Latest images of each class that a Gaussian is fitted to."
    )


@runtime_checkable
class HasChains(Protocol):
    """A section of a method that can be trained by samples of its own (`HasSampler`)."""

    @property
    def num_classes(self) -> int | None:
        """Classes that the density knows; None for a density of images alone."""

    @property
    def sampler(self) -> SamplerConfig | None:
        """The steps of the chains; None if it is trained without."""

    @property
    def replay(self) -> ReplayConfig | None:
        """Their starts; None if it is trained without."""


class JEMWeights(Section):
    """Factors of the three terms; the paper's ablation of section 5 sets joint alone."""

    marginal: NonNegative = Field(description="Of log p(x).")
    classifier: NonNegative = Field(description="Of log p(y|x).")
    joint: NonNegative = Field(default=0.0, description="Of log p(x, y) through p(x|y) samples.")


class JEMConfig(NoisySection):
    """JEM (Grathwohl et al. 2020, arXiv:1912.03263): view 1 trains p(y|x), view 2 p(x)."""

    min_views: ClassVar[int] = 2
    builtin: ClassVar[str] = "digits"

    name: Literal["jem"]
    weights: JEMWeights
    sampler: SamplerConfig
    replay: ReplayConfig
    target: Literal["marginal", "class"] = Field(
        default="marginal", description="Sample from p(x), or from p(x|y) with y uniform."
    )
    energy_penalty: NonNegative = Field(
        default=0.0, description="Factor of the mean square of log p on data and on samples."
    )

    @model_validator(mode="after")
    def _check(self) -> "JEMConfig":
        if self.weights.joint and self.target != "class":
            raise ValueError('weights.joint needs samples of a class: set target = "class"')
        check_blocks(self.replay, self.num_classes if self.target == "class" else 1)
        return self


class HDGEConfig(NoisySection):
    """HDGE (Liu & Abbeel 2020, arXiv:2007.09070): cross-entropy and contrast within a class."""

    builtin: ClassVar[str] = "digits"

    name: Literal["hdge"]
    queue_size: Count
    temperature: Positive
    score: Literal["paper", "released"] = Field(
        default="paper",
        description="Take the class's logit, or the authors' code's sum over all classes.",
    )
    classifier_weight: NonNegative
    contrast_weight: NonNegative
    density_weight: NonNegative = Field(
        default=0.0, description="Of JEM's log p(x) term; needs sampler and replay."
    )
    sampler: SamplerConfig | None = None
    replay: ReplayConfig | None = None

    @model_validator(mode="after")
    def _check(self) -> "HDGEConfig":
        given = self.sampler is not None, self.replay is not None
        if given != ((self.density_weight > 0),) * 2:
            raise ValueError("sampler and replay belong to a density_weight above 0")
        return self

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if a step's images do not fit the queue."""
        if self.queue_size < batch_size:
            raise ValueError(f"method.queue_size must be at least train.batch_size ({batch_size})")


class GradientClampConfig(Section):
    """Bound each element of a weight's gradient by sigmas * (root of Adam's second moment) + floor.

    `decay` is the optimiser's second beta.
    """

    sigmas: Positive
    floor: Positive
    decay: Annotated[float, Field(gt=0, lt=1)]


class IGEBMConfig(MethodSection):
    """IGEBM (Du & Mordatch 2019, arXiv:1903.08689); images in [0, 1], so mean 0 and std 1."""

    builtin: ClassVar[str] = "digits"

    name: Literal["igebm"]
    num_classes: Features | None = Field(
        default=None, description="Classes that the energy is conditioned on; none when unset."
    )
    dequantize: bool = Field(
        default=True, description="Spread each of 256 levels evenly over its share of [0, 1]."
    )
    energy_penalty: NonNegative
    kl_weight: NonNegative = Field(
        default=0.0,
        description="Of the energy where the chain ends, differentiated through the whole chain.",
    )
    sampler: SamplerConfig
    replay: ReplayConfig
    relabel: Fraction = Field(
        default=0.0,
        description="Share of recycled chains that go on under the batch's classes, as fresh ones "
        "begin; all in the authors' code, whose buffer has no labels.",
    )
    gradient_clamp: GradientClampConfig | None = None

    @model_validator(mode="after")
    def _check(self) -> "IGEBMConfig":
        if self.replay.start != "uniform":
            raise ValueError("IGEBM starts its chains from uniform noise")
        return self

    @property
    def learns_labels(self) -> bool:
        """Whether training reads labels: with classes it does."""
        return self.num_classes is not None

    def complete(self, facts: DataFacts) -> "IGEBMConfig":
        """Return the section as it is.

        Raises:
            ConfigError: If it has classes, and the data has others or none; or if it spreads the
                levels of images that are not in [0, 1].
        """
        if self.dequantize and facts.pixels and not facts.pixels.keeps_unit_range:
            what = "method.dequantize spreads the levels of images in [0, 1], and these are not"
            hint = "set data.mean=[0, 0, 0] and data.std=[1, 1, 1], or method.dequantize=false"
            raise ConfigError(what, "data.mean, data.std", hint)
        if self.num_classes is not None:
            check_classes(self.name, self.num_classes, facts)
        return self


def check_blocks(replay: ReplayConfig, blocks: int) -> None:
    """Raise ValueError unless a buffer divides evenly among classes."""
    if replay.size % blocks:
        raise ValueError(f"replay.size must be divisible by num_classes ({blocks})")
