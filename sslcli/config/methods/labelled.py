"""Sections of the methods that learn from labels, or from a network that did."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslcli.config.section import (
    Column,
    Features,
    Fraction,
    LabelledSection,
    MethodSection,
    MixingSection,
    NoisySection,
    NonNegative,
    Positive,
    ReadOut,
    Section,
)

Smoothing = Annotated[
    float,
    Field(ge=0, lt=1, description="Share of a label that is spread evenly over all classes."),
]


LayerDecay = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="Factor of the encoder's rate from block to block, or stage to stage, towards "
        "the image; 1 is none.",
    ),
]
ProbeInit = Annotated[
    Literal["normal", "uniform"],
    Field(
        description="Draw of the classifier: normal of deviation 0.01 without bias, or torch's "
        "default, uniform within 1 / sqrt(features) (AMDIM)."
    ),
]
LogitClip = Annotated[
    float,
    Field(ge=0, description="c of c tanh(logit / c) in training (AMDIM); 0 is no clip."),
]
LogitPenalty = Annotated[
    float,
    Field(ge=0, description="Weight of the mean square of logits before the clip (AMDIM)."),
]
PerCell = Annotated[
    bool,
    Field(
        description="Classify each cell of the encoder's last maps, behind BatchNorm without scale "
        "and shift, and average the logits (CPC v2); what is kept is that layer for their mean.",
    ),
]
ClassifierRate = Annotated[
    float, Field(gt=0, description="Factor of the classifier's rate over the encoder's.")
]
Averaging = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="Momentum of a moving average of the weights after each step, which is then "
        "what is evaluated and kept; 0 is none.",
    ),
]


class SupervisedConfig(NoisySection, MixingSection):
    """An encoder and a linear classifier from scratch, by cross-entropy: everyone's baseline."""

    name: Literal["supervised"]
    data_noise: NonNegative = Field(
        default=0.0, description="Standard deviation of noise on the normalised images."
    )


class LinearProbeConfig(LabelledSection):
    """A linear classifier on a frozen encoder in evaluation mode."""

    from_checkpoint: ClassVar[bool] = True

    name: Literal["linear-probe"]
    label_smoothing: Smoothing = 0.0
    features: ReadOut = "encoder"
    rates: tuple[Positive, ...] = Field(
        default=(), description="Rates of classifiers side by side; the first is the optimiser's."
    )
    per_cell: PerCell = False
    init: ProbeInit = "normal"
    logit_clip: LogitClip = 0.0
    logit_penalty: LogitPenalty = 0.0


class HeadLayer(Section):
    """A hidden layer of a projection head: Linear, BatchNorm if `norm`, an activation."""

    width: Features
    bias: bool
    norm: bool
    norm_affine: bool = Field(default=True, description="Whether BatchNorm has scale and shift.")
    activation: Literal["relu", "gelu"] = "relu"


class FinetuneConfig(LabelledSection, MixingSection):
    """A linear classifier and its encoder, trained together."""

    from_checkpoint: ClassVar[bool] = True

    name: Literal["finetune"]
    column: Column = Field(default="image", description="What the encoder reads.")
    layer_decay: LayerDecay = 1.0
    classifier_rate: ClassifierRate = 1.0
    averaging: Averaging = 0.0
    head: tuple[HeadLayer, ...] = Field(
        default=(),
        description="Layers of the pre-training head between encoder and classifier (SimCLR v2).",
    )

    @property
    def reads(self) -> frozenset[Column]:  # type: ignore[override]
        """The column that `forward` gets."""
        return frozenset({self.column})

    @property
    def min_views(self) -> int:  # type: ignore[override]
        """Views of an image: one, of an encoder of images."""
        return int(self.column == "image")

    @property
    def min_texts(self) -> int:  # type: ignore[override]
        """Views of a text: one, of an encoder of texts."""
        return int(self.column == "text")


class DistillConfig(MethodSection):
    """A classifier that learns a teacher's probabilities (SimCLR v2, section 2)."""

    from_checkpoint: ClassVar[bool] = True

    name: Literal["distill"]
    num_classes: Features = Field(description="The teacher's.")
    temperature: Positive
    alpha: Fraction

    @property
    def learns_labels(self) -> bool:
        """Whether training reads labels: the teacher has, and hands them on."""
        return True
