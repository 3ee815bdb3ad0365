"""The section `evaluation`: settings of kNN, probes, fine-tuning and distillation."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from sslcli.config.duration import Duration
from sslcli.config.methods.labelled import (
    Averaging,
    ClassifierRate,
    LayerDecay,
    LogitClip,
    LogitPenalty,
    PerCell,
    ProbeInit,
    Smoothing,
)
from sslcli.config.optimizers import Optimizer, ScheduleConfig
from sslcli.config.section import Count, Fraction, MixingSection, Positive, ReadOut, Section
from sslcli.config.views import ViewConfig


class RecipeConfig(Section):
    """Optimiser, schedule and duration of a classifier's training."""

    duration: Duration
    batch_size: Count
    accumulate: Count = Field(default=1, description="Parts that a batch is made in.")
    optimizer: Optimizer
    schedule: ScheduleConfig
    views: tuple[ViewConfig, ...] = Field(
        default=(), description="Of images; a text is shown as the config's texts cut it."
    )


class ProtocolConfig(RecipeConfig):
    """Supervised training on top of an encoder: a linear probe or fine-tuning."""

    label_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Share of each class's labels used."
    )
    label_smoothing: Smoothing = 0.0


class LinearConfig(ProtocolConfig):
    """The papers' linear probe on a frozen encoder."""

    rates: tuple[Positive, ...] = Field(
        default=(),
        description="Base rates to train with side by side, in place of the optimiser's; the best "
        "on a tenth of the training images is taken.",
    )
    per_cell: PerCell = False
    init: ProbeInit = "normal"
    logit_clip: LogitClip = 0.0
    logit_penalty: LogitPenalty = 0.0

    @model_validator(mode="after")
    def _check(self) -> "LinearConfig":
        if len(set(self.rates)) < len(self.rates):
            raise ValueError("rates repeats a rate")
        if self.rates and self.optimizer.clip_norm and not self.optimizer.clip_each:
            raise ValueError("rates need a clip_norm of each parameter by itself: clip_each = true")
        if self.rates and self.per_cell:
            raise ValueError("rates and per_cell exclude each other")
        return self


class FinetuningConfig(ProtocolConfig, MixingSection):
    """Training of encoder and classifier together."""

    label_list: str | None = Field(
        default=None,
        description="A file with the name of an image a line, whose labels are used; in place of "
        "`label_fraction`.",
    )
    layer_decay: LayerDecay = 1.0
    classifier_rate: ClassifierRate = 1.0
    averaging: Averaging = 0.0

    @model_validator(mode="after")
    def _check(self) -> "FinetuningConfig":
        if self.label_list and self.label_fraction < 1:
            raise ValueError("label_list and a label_fraction below 1 exclude each other")
        return self


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
    features: ReadOut = "encoder"
    linear_features: ReadOut | None = Field(
        default=None, description="As `features`, for linear-eval; when unset they are the same."
    )
    online_every: Duration | None = Field(
        default=None,
        description="How often `online_sts` is measured, and online kNN of a slice of the training "
        'data; of `data.validation` alone where labels are learned. "0 steps" is never.',
    )
    online_sts: str | None = Field(
        default=None,
        description="Pairs of sentences with scores to measure an encoder of texts on in training: "
        "of an STS folder STS-B's development part, of data with parts those to train on.",
    )
    linear: LinearConfig | None = None
    finetune: FinetuningConfig | None = None
    distill: DistillationConfig | None = None

    @field_validator("online_every")
    @classmethod
    def _may_be_never(cls, every: Duration | None) -> Duration | None:
        """Take no length for none: a preset cannot unset what it extends."""
        return every if every and (every.amount or every.least) else None
