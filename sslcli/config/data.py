"""The section `data`: where samples come from, what is held out, and how images become tensors."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslcli.config.pixels import FITTING, Interpolation, Pixels, Space, Triple, suits
from sslcli.config.section import Count, Fraction, Positive, Section, Seed
from sslcli.config.views import Side
from sslcli.errors import ConfigError


class SeedsConfig(Section):
    """Train on patches of the images, each chosen by how much it shows (Exemplar-CNN)."""

    count: Count = Field(description="Patches; each is one row of the training data.")
    side: Annotated[int, Field(ge=2, le=1024)] = Field(description="Side of a patch in pixels.")
    surround: Annotated[int, Field(ge=2, le=4096)] = Field(
        description="Side that is kept around it, so that a shift shows image and no border."
    )

    @model_validator(mode="after")
    def _check(self) -> "SeedsConfig":
        if self.surround < self.side:
            raise ValueError("seeds.surround must be at least seeds.side")
        return self


class DataConfig(Section):
    """The training data, and the steps that turn an image into a tensor for evaluation."""

    source: str = "digits"
    test: str | None = Field(default=None, description="Held-out data, when `source` has none.")
    root: str = Field(default="data", description="Folder of torchvision's data sets.")
    download: bool = False
    image_size: Side | None = Field(
        default=None, description="Side of the images that the encoder sees; images need one."
    )
    resize: Side | None = Field(
        default=None,
        description="Shorter side before the centre crop to `image_size` in evaluation.",
    )
    interpolation: Interpolation = Field(
        default="bilinear", description="Of the resize in evaluation; DINO's code has bicubic."
    )
    space: Space = Field(
        default="rgb",
        description="What red, green and blue become after crop, flip and colour, before they are "
        "normalised: rgb, lab (L from 0 to 100, D65) or ycbcr (from 16 to 240).",
    )
    mean: Triple | None = Field(
        default=None,
        description="Of the channels: red, green and blue in [0, 1], or what `space` makes of "
        "them, in its units; images need one.",
    )
    std: Triple | None = Field(default=None, description="Deviation of the same.")
    white_point: Annotated[int, Field(ge=1, le=65_535)] = Field(
        default=65_535,
        description="Value that is white in images of sixteen bits: 4095 where twelve are used.",
    )
    holdout: Fraction = Field(
        default=0.2, description="Share held out when neither `source` nor `test` has a test part."
    )
    holdout_seed: Seed = Field(
        default=0,
        description="Decides which images are held out; a run's `seed` has no part in it.",
    )
    validation: Fraction = Field(
        default=0.0,
        description="Share of the training images that pre-training does not see; online kNN asks "
        "for them.",
    )
    seeds: SeedsConfig | None = None
    unique: bool = Field(
        default=False,
        description="Train on each sentence once: of equal rows the first is kept. Two equal "
        "sentences in a batch are taken for different ones.",
    )
    sentences: Literal["first", "all"] = Field(
        default="first",
        description="Of pairs and triplets: a row each, or every sentence a row of its own.",
    )
    lengths: Literal["mixed", "alike"] = Field(
        default="mixed",
        description="Of the sentences in a batch: as the shuffled order has them, as in the papers "
        "and their codes, or alike, which leaves less padding. It changes what is learned, too: "
        "among sentences of one length a partner cannot be told by its length.",
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    memory_budget_gib: Positive = Field(
        default=1.5, description="Images of one size are kept decoded in memory up to this size."
    )
    max_packed_images: Count = Field(
        default=500_000, description="Larger sets are streamed, not decoded before the first step."
    )
    max_bad_fraction: Fraction = 0.01

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        if self.resize and self.image_size and self.resize < self.image_size:
            raise ValueError("resize must be at least image_size")
        if self.mean and self.std and not suits(self.space, self.mean, self.std):
            mean, std = map(list, FITTING[self.space])
            raise ValueError(
                f"mean {list(self.mean)} and std {list(self.std)} are not in the units of "
                f"{self.space}: mean = {mean} and std = {std} would be"
            )
        return self

    @property
    def pixels(self) -> Pixels:
        """The fields that evaluation makes tensors of images by.

        Raises:
            ConfigError: With every one that is missing.
        """
        size, mean, std = self.image_size, self.mean, self.std
        if size is None or mean is None or std is None:
            raise self._without_pixels()
        return Pixels(
            size, mean, std, self.resize, space=self.space, interpolation=self.interpolation
        )

    def unscaled(self) -> "DataConfig":
        """Return the section that leaves evaluation's images red, green and blue in [0, 1]."""
        plain = {"space": "rgb", "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        return self.model_copy(update=plain)

    def _without_pixels(self) -> ConfigError:
        mean, std = map(list, FITTING[self.space])
        shown = {"image_size": 32, "mean": mean, "std": std}
        first, *others = (
            ConfigError(
                f"data.{name} is missing, which images need",
                f"data.{name}",
                f"set it, such as data.{name}={value}, or start from a preset of images",
            )
            for name, value in shown.items()
            if getattr(self, name) is None
        )
        return ConfigError(first.what, first.where, first.hint, others)
