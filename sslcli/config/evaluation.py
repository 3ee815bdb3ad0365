"""The section `evaluation`: settings of kNN, probes, fine-tuning and distillation."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.config.duration import Duration
from sslcli.config.methods.labelled import Smoothing
from sslcli.config.optimizers import Optimizer, ScheduleConfig
from sslcli.config.section import Count, Fraction, Positive, Section
from sslcli.config.views import ViewConfig


class RecipeConfig(Section):
    """Optimiser, schedule and duration of a classifier's training."""

    duration: Duration
    batch_size: Count
    optimizer: Optimizer
    schedule: ScheduleConfig
    views: tuple[ViewConfig, ...]


class ProtocolConfig(RecipeConfig):
    """Supervised training on top of an encoder: a linear probe or fine-tuning."""

    label_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Share of each class's labels used."
    )
    label_smoothing: Smoothing = 0.0


class DistillationConfig(RecipeConfig):
    """Training of a student on a teacher's probabilities."""

    temperature: Positive = Field(description="Of student and teacher alike.")
    alpha: Fraction = Field(
        default=1.0, description="Weight of the teacher; the rest is cross-entropy with labels."
    )


class EvaluationConfig(Section):
    """Settings with which checkpoints are evaluated unless an option says otherwise."""

    k: Count
    temperature: Positive
    features: Literal["output", "quadrants"] = Field(
        default="output",
        description="quadrants: every layer's maximum over each quarter (Exemplar-CNN's nets).",
    )
    online_every: Duration | None = Field(
        default=None,
        description="Online kNN of a slice of the training data; of "
        "`data.validation` alone where labels are learned.",
    )
    linear: ProtocolConfig | None = None
    finetune: ProtocolConfig | None = None
    distill: DistillationConfig | None = None
