"""Sections of the methods that train on adversarial images: CLAE and AdvProp."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sslcli.config.pixels import Pixels, Triple
from sslcli.config.section import (
    Count,
    DataFacts,
    Features,
    Fraction,
    LabelledSection,
    MethodSection,
    NonNegative,
    Positive,
    Section,
)
from sslcli.errors import ConfigError

LEAST, MOST = 1e-3, 1.0  # of the pixel range, that an attack may change a value by
Levels = Annotated[float, Field(ge=255 * LEAST, le=255 * MOST)]
Box = Annotated[
    tuple[Triple, Triple] | None,
    Field(description="Black and white of each channel, normalised; filled in from the data."),
]


def box_of(pixels: Pixels | None) -> tuple[Triple, Triple] | None:
    """Return where the range of pixels, 0 to 1, ends after normalisation.

    Raises:
        ConfigError: If the encoder sees other colours than red, green and blue.
    """
    if pixels is None:
        return None
    if pixels.space != "rgb":
        what = f"attacks move red, green and blue, and the encoder sees {pixels.space}"
        raise ConfigError(what, "data.space", 'set it to "rgb"')
    return _normalised(0.0, pixels), _normalised(1.0, pixels)


def _normalised(value: float, pixels: Pixels) -> Triple:
    red, green, blue = ((value - m) / s for m, s in zip(pixels.mean, pixels.std, strict=True))
    return red, green, blue


class CLAEConfig(MethodSection):
    """CLAE (Ho & Vasconcelos 2020, arXiv:2010.12050); a criterion is one of its three settings."""

    min_views: ClassVar[int] = 2

    name: Literal["clae"]
    criterion: Literal["nt-xent", "info-nce", "invariant-spread"] = Field(
        description="Of both terms: the code's folders SimCLR, Plain and UEL."
    )
    hidden: Features | None = Field(
        default=None, description="Width of the head's hidden layer; unset is a linear head."
    )
    dim: Features
    temperature: Positive
    alpha: NonNegative = Field(description="Weight of the adversarial term; 0 is the plain method.")
    radius: Positive = Field(
        description="Change of each value of the normalised image, the same in every channel."
    )
    norm_momentum: Fraction = Field(
        description="Of the running statistics of the auxiliary BatchNorm."
    )
    direction: Literal["gradient", "random"] = Field(
        default="gradient", description="Random signs instead of the gradient's are the ablation."
    )
    box: Box = None

    def complete(self, facts: DataFacts) -> "CLAEConfig":
        """Return the section with the range of the normalised images.

        Raises:
            ConfigError: If the radius is next to nothing, or more than the pixels' whole range.
        """
        section = self.model_copy(update={"box": self.box or box_of(facts.pixels)})
        sizes = section._sizes()
        if sizes and not LEAST <= min(sizes) <= max(sizes) <= MOST:
            least, most = (self.radius * end / size for end, size in
                           ((LEAST, min(sizes)), (MOST, max(sizes))))  # fmt: skip
            what = f"a radius of {self.radius:g} is {max(sizes):.3g} of the range of pixels"
            hint = f"it counts normalised units: between {least:.2g} and {most:.2g} for this data"
            raise ConfigError(what, "method.radius", hint)
        return section

    def remarks(self) -> tuple[str, ...]:
        """Say what the radius amounts to in pixels."""
        levels = list(dict.fromkeys(f"{255 * size:.3g}" for size in self._sizes()))
        channels = "red, green, blue" if len(levels) > 1 else "each channel"
        what = f"attack radius {self.radius:g} of the normalised image"
        return (f"{what} is {', '.join(levels)} levels of 255 in {channels}",) if levels else ()

    def _sizes(self) -> list[float]:
        """Return the radius as a share of the pixel range, a channel."""
        if self.box is None:
            return []
        return [self.radius / (high - low) for low, high in zip(*self.box, strict=True)]


class AttackConfig(Section):
    """Projected gradient descent within a ball of largest changes (Madry et al. 2018)."""

    radius: Levels = Field(description="In levels of 255.")
    step_size: Levels = Field(description="In levels of 255.")
    steps: Count
    targeted: bool = Field(
        description="Towards another class, drawn for each image, rather than away from its own."
    )
    noise: Fraction = Field(
        description="Chance that a batch starts from uniform noise within the radius."
    )
    mode: Literal["eval", "train"] = Field(
        default="eval", description="Of the network while it is attacked."
    )

    @model_validator(mode="after")
    def _check(self) -> "AttackConfig":
        if self.steps * self.step_size < self.radius:
            raise ValueError("steps * step_size must be at least radius: no image gets there")
        return self


class AdvPropConfig(LabelledSection):
    """AdvProp (Xie et al. 2020, arXiv:1911.09665); `norms` is the ablation of the paper."""

    name: Literal["advprop"]
    attack: AttackConfig
    norms: Literal["dual", "shared"] = Field(
        default="dual", description="An auxiliary BatchNorm for adversarial images, or one for all."
    )
    reduction: Literal["sum", "mean"] = Field(
        description="Of the losses of clean and of adversarial images: the paper's sum, or half."
    )
    further_views: Annotated[int, Field(ge=0, le=64)] | None = Field(
        default=None,
        description="Views besides the first, which is attacked; each has an auxiliary BatchNorm "
        "of its own (fine-grained AdvProp). Filled in from the config's views.",
    )
    box: Box = None

    def complete(self, facts: DataFacts) -> "AdvPropConfig":
        """Return the section with the range of the normalised images and the number of views.

        Raises:
            ConfigError: If the data has no labels, or another number of classes.
        """
        super().complete(facts)
        known = {"box": self.box or box_of(facts.pixels)}
        if self.further_views is None and facts.views is not None:
            return self.model_copy(update={**known, "further_views": facts.views - 1})
        return self.model_copy(update=known)


class FastAdvPropConfig(LabelledSection):
    """Fast AdvProp (Mei et al. 2022, arXiv:2204.09838): few images are attacked, at little cost."""

    name: Literal["fast-advprop"]
    radius: Levels = Field(description="In levels of 255.")
    step_size: Levels = Field(description="In levels of 255.")
    clean_per_attacked: Count = Field(description="Clean images for one that is attacked.")
    attack_weight: Positive = Field(
        description="Of the loss of noisy images, whose gradient makes them adversarial."
    )
    adversarial_weight: Positive = Field(description="Of the loss of adversarial images.")
    box: Box = None

    def complete(self, facts: DataFacts) -> "FastAdvPropConfig":
        """Return the section with the range of the normalised images.

        Raises:
            ConfigError: If the data has no labels, or another number of classes.
        """
        super().complete(facts)
        return self.model_copy(update={"box": self.box or box_of(facts.pixels)})

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if a batch does not divide into clean and attacked images."""
        if batch_size % (self.clean_per_attacked + 1):
            parts = self.clean_per_attacked + 1
            raise ValueError(
                f"train.batch_size must be divisible by {parts}, method.clean_per_attacked + 1"
            )
