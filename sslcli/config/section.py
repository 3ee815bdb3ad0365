"""The bases of a config's sections, of methods' sections above all, and the ranges they share."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from sslcli.config.pixels import Pixels
from sslcli.errors import ConfigError

if TYPE_CHECKING:  # both are sections, too
    from sslcli.config.encoder import EncoderConfig
    from sslcli.config.views import ViewConfig

LARGEST = (2 - 2**-23) * 2.0**127  # number of float32
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
# DINO's head has the most, 65,536; the bound keeps a weight matrix within 64 bits of memory.
Features = Annotated[int, Field(ge=2, le=2**20)]
Column = Literal["image", "text", "pair", "triplet"]
NOUNS: dict[Column, tuple[str, str]] = {  # one row and several, in messages
    "image": ("image", "images"),
    "text": ("sentence", "sentences"),
    "pair": ("pair of sentences", "pairs of sentences"),
    "triplet": ("triplet of sentences", "triplets of sentences"),
}
# The class tokens of a vision transformer's last blocks, and the mean of the last patches' tokens.
LAST_TOKENS = re.compile(r"last-([1-9]\d{0,2})(\+patches)?")
LAYER = re.compile(r"layer-([1-9]\d?)")
TOWERS = ("image-tower", "text-tower")  # read-outs that are a method's own networks


def _read_out(name: str) -> str:
    named = LAST_TOKENS.fullmatch(name) or LAYER.fullmatch(name)
    if name not in ("encoder", "head", "quadrants", *TOWERS) and not named:
        known = (
            "encoder, head, quadrants, layer-5, last-4, last-1+patches, image-tower or text-tower"
        )
        raise ValueError(f"must be {known}")
    return name


ReadOut = Annotated[
    str,
    AfterValidator(_read_out),
    Field(
        description="What evaluations take from a network: its output (encoder), the projection "
        "head's (head), the class tokens of a vision transformer's last blocks side by side "
        "(last-4), and the mean of the last patches' tokens (last-1+patches), every layer's "
        "maximum over each quarter of the image (quadrants, of Exemplar-CNN's networks), a "
        "layer as CMC probes it (layer-1 to layer-5 of half-alexnet, layer-6 of ResNets), or a "
        "tower with its projection (image-tower, text-tower: of CLIP)."
    ),
]


class Section(BaseModel):
    """Base of every section: immutable, and unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _fits_float32(cls, value: Any) -> Any:
        """Refuse numbers that the arithmetic of a training cannot hold."""
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(each, float) and abs(each) > LARGEST for each in numbers):
            raise ValueError(f"float32 ends at {LARGEST:.1e}")
        return value


@dataclass(frozen=True)
class DataFacts:
    """Facts about the training data that a method may need; None where unknown.

    Attributes:
        source: Name of the data, for messages.
        rows: Samples to train on.
        classes: Their names; empty for data without labels.
        pixels: Size and scale of the images; None for a method that reads none.
        vocabulary: Numbers that stand for tokens are below it; None for a method without texts.
        views: Views that the config makes of an image.
        specials: Numbers that stand for no part of a text, such as its end.
        mask_token: The number that stands for a hidden token; None without one.
    """

    source: str = ""
    rows: int | None = None
    classes: tuple[str, ...] | None = None
    pixels: Pixels | None = None
    vocabulary: int | None = None
    views: int | None = None
    specials: tuple[int, ...] = ()
    mask_token: int | None = None


class MethodSection(Section):
    """Base of every method's section; a subclass declares here what its method needs and offers.

    Attributes:
        reads: The columns of the data that `forward` gets.
        min_views: Views of an image that `forward` needs at least.
        min_texts: Views of a text that `forward` needs at least.
        contrasts_batch: Whether the class is a `BatchContrast`, so that `train.chunk_size` can
            embed a batch in pieces.
        contrasts_sentences: Whether it tells sentences from each other, so that equal ones mislead
            it, and a start from nothing on real text does.
        from_checkpoint: Whether training starts from a checkpoint, by a command of its own.
        contrasts_channels: Whether parts of the channels are told apart, so that images without
            colour may leave nothing to tell.
        builtin: The built-in data set to train on when none is named; a preset has its name.
        two_towers: Whether the class takes an encoder of texts beside that of images.
    """

    reads: ClassVar[frozenset[Column]] = frozenset({"image"})
    min_views: ClassVar[int] = 1
    min_texts: ClassVar[int] = 0
    contrasts_batch: ClassVar[bool] = False
    contrasts_sentences: ClassVar[bool] = False
    from_checkpoint: ClassVar[bool] = False
    contrasts_channels: ClassVar[bool] = False
    builtin: ClassVar[str] = "scenes"
    two_towers: ClassVar[bool] = False

    name: str

    @property
    def learns_labels(self) -> bool:
        """Whether training reads labels, directly or by a teacher."""
        return False

    @property
    def watches_labels(self) -> bool:
        """Whether `forward` gets labels where there are any, to tell how far training is.

        No gradient of theirs may reach the encoder, which therefore counts as one without labels.
        """
        return False

    @property
    def image_noise(self) -> float:
        """Deviation of the noise that training adds to normalised images."""
        return 0.0

    def complete(self, facts: DataFacts) -> "MethodSection":
        """Return the section with what only the data can tell filled in.

        Raises:
            ConfigError: If the method cannot learn from such data.
        """
        return self

    def remarks(self) -> tuple[str, ...]:
        """Return what a person is told of the completed section before training."""
        return ()

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if the method cannot work with this global batch or BatchNorm."""

    def check_views(self, views: "Sequence[ViewConfig]", encoder: "EncoderConfig") -> None:
        """Raise ValueError if the method cannot work with these views and this encoder together."""


class LabelledSection(MethodSection):
    """Base of the sections of methods that learn to tell the data's classes apart."""

    num_classes: Features

    @property
    def learns_labels(self) -> bool:
        """Whether training reads labels: it does."""
        return True

    def complete(self, facts: DataFacts) -> "LabelledSection":
        """Return the section as it is.

        Raises:
            ConfigError: If the data has no labels, or another number of classes.
        """
        check_classes(self.name, self.num_classes, facts)
        return self


class MixingSection(Section):
    """Fields of cross-entropy with soft labels and mixed images."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of a label that is spread evenly over all classes."
    )
    mixup: NonNegative = Field(
        default=0.0, description="Shape of the Beta distribution of mixup's shares; 0 is none."
    )
    cutmix: NonNegative = Field(
        default=0.0,
        description="Shape of the Beta distribution of CutMix's shares; beside mixup, a coin a "
        "batch chooses. 0 is none.",
    )

    @property
    def mixes(self) -> bool:
        """Whether images are mixed."""
        return self.mixup > 0 or self.cutmix > 0


class NoisySection(LabelledSection):
    """Base of the sections of classifiers that are trained on images with noise."""

    data_noise: NonNegative = Field(description="Deviation of noise on the normalised images.")

    @property
    def image_noise(self) -> float:
        """Deviation of the noise that training adds to normalised images."""
        return self.data_noise


def check_classes(method: str, wanted: int, facts: DataFacts) -> None:
    """Raise ConfigError unless the data has labels of `wanted` classes."""
    if facts.classes is None:
        return
    if not facts.classes:
        what = f"{method} learns classes, and {facts.source} has no labels"
        raise ConfigError(what, "data.source", "use labelled data, or a method that needs none")
    if len(facts.classes) < 2:
        what = f"{method} learns classes, and {facts.source} has one class alone"
        raise ConfigError(what, "method.num_classes", "use data with two classes or more")
    if wanted != (there := len(facts.classes)):
        what = f"{method} is to learn {wanted} classes, and {facts.source} has {there}"
        raise ConfigError(what, "method.num_classes", f"set it to {there}, or use other data")
