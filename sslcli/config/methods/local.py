"""Sections of the methods that predict local features across views."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from sslcli.config.encoder import EncoderConfig
from sslcli.config.section import (
    DataFacts,
    Features,
    MethodSection,
    NonNegative,
    Positive,
    Section,
)
from sslcli.config.views import ViewConfig
from sslcli.errors import ConfigError

Term = Literal["1->5", "1->7", "5->5", "1->1"]


class OnlineConfig(Section):
    """Classifiers that learn labels beside the encoder, from its detached features."""

    hidden: Features = Field(description="Width of the hidden layer of the second one.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(description="Of the second one.")
    clip: Positive = Field(description="c of c tanh(logit / c).")
    penalty: NonNegative = Field(description="Weight of the mean square of logits.")


class AMDIMConfig(MethodSection):
    """AMDIM (Bachman et al. 2019, arXiv:1906.00910); `encoder.norm` is the code's use_bn."""

    min_views: ClassVar[int] = 2
    contrasts_batch: ClassVar[bool] = True

    name: Literal["amdim"]
    clip: NonNegative = Field(description="c of c tanh(score / c); 0 is no clip.")
    penalty: NonNegative = Field(description="Weight of the mean square of scores.")
    terms: tuple[Term, ...] = Field(
        default=("1->5", "1->7", "5->5"),
        min_length=1,
        description="What is predicted from what, by the side of their maps; 1->1 contrasts global "
        "features alone.",
    )
    online: OnlineConfig | None = Field(
        default=None,
        description="A linear and a two-layer classifier that tell how far the encoder is; they "
        "are left out of data without labels, and change nothing in the encoder.",
    )
    online_classes: Features | None = Field(
        default=None, description="Classes that they learn; filled in from the data."
    )

    @field_validator("terms")
    @classmethod
    def _differ(cls, terms: tuple[Term, ...]) -> tuple[Term, ...]:
        if len(set(terms)) < len(terms):
            raise ValueError("terms repeats a term")
        return terms

    @property
    def watches_labels(self) -> bool:
        """Whether labels are wanted where there are any: classifiers stand beside the encoder."""
        return self.online is not None

    def remarks(self) -> tuple[str, ...]:
        """Return what becomes of labels."""
        if self.online is None:
            return ()
        if self.online_classes is None:
            return ("no online classifiers: this data has no classes to tell apart",)
        told = (
            f"two online classifiers learn the {self.online_classes} classes, the encoder does not"
        )
        return (told,)

    def complete(self, facts: DataFacts) -> "AMDIMConfig":
        """Return the section with the number of classes, where there are classifiers and labels.

        Raises:
            ConfigError: If another number is set.
        """
        if self.online is None or facts.classes is None:
            return self
        several = len(facts.classes) if len(facts.classes) > 1 else None
        if self.online_classes not in (None, several):
            what = f"{facts.source} has {len(facts.classes)} classes, not {self.online_classes}"
            raise ConfigError(what, "method.online_classes", "leave it out: the data says it")
        return self.model_copy(update={"online_classes": several})

    def check_views(self, views: Sequence[ViewConfig], encoder: EncoderConfig) -> None:
        """Raise ValueError if the encoder or the views' sizes are none of AMDIM's."""
        if not encoder.name.startswith("amdim-"):
            raise ValueError(
                f"amdim needs local features that see a window each, and {encoder.name} has none: "
                'encoder.name must be one of its own, such as "amdim-1024-3"'
            )
        sizes = sorted({view.size for view in views})
        if len(sizes) > 1 or sizes[0] not in (32, 64, 128) or any(view.patches for view in views):
            named = " and ".join(map(str, sizes))
            raise ValueError(
                f"amdim's encoders map whole images of 32, 64 or 128 pixels, all alike: views.size "
                f"is {named}"
            )
