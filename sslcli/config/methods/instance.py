"""Sections of the methods whose classes are single images, told apart by a memory or the batch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslcli.config.section import (
    Count,
    DataFacts,
    Features,
    Fraction,
    MethodSection,
    NonNegative,
    Positive,
)

# The bounds keep memories within 64 bits; MoCo's longest queue has 65,536 rows.
Rows = Annotated[int, Field(ge=1, le=2**24)]
Draws = Annotated[int, Field(ge=0, le=2**24)]
Images = Annotated[int, Field(ge=1, le=2**32)]


class InstDiscConfig(MethodSection):
    """InstDisc (Wu et al. 2018, arXiv:1805.01978); `negatives` is the ablation of table 1."""

    name: Literal["instdisc"]
    dim: Features
    temperature: Positive
    negatives: Draws = Field(
        description="Rows drawn for noise-contrastive estimation; 0 is the softmax over all rows."
    )
    momentum: Fraction = Field(description="Share of its former vector that a row keeps.")
    proximal: NonNegative = Field(
        default=0.0,
        description="Weight of the squared distance to an image's former vector (eq. 10).",
    )
    num_instances: Images | None = Field(
        default=None, description="Training images; filled in from the data."
    )

    def complete(self, facts: DataFacts) -> "InstDiscConfig":
        """Return the section with the number of training images, unless it has one already."""
        if self.num_instances is not None:
            return self
        return self.model_copy(update={"num_instances": facts.rows})


class ExemplarCNNConfig(MethodSection):
    """Exemplar-CNN (Dosovitskiy et al. 2014, arXiv:1406.6909): each image is a class of its own."""

    name: Literal["exemplar-cnn"]
    num_instances: Images | None = Field(
        default=None, description="Training images; filled in from the data."
    )

    def complete(self, facts: DataFacts) -> "ExemplarCNNConfig":
        """Return the section with the number of training images, unless it has one already."""
        if self.num_instances is not None:
            return self
        return self.model_copy(update={"num_instances": facts.rows})


class InvaSpreadConfig(MethodSection):
    """InvaSpread (Ye et al. 2019, arXiv:1904.03436)."""

    min_views: ClassVar[int] = 2
    contrasts_batch: ClassVar[bool] = True

    name: Literal["invaspread"]
    dim: Features
    temperature: Positive
    negatives: Literal["all", "hard", "easy"] = Field(
        default="all", description="Or the half that is most or least similar to the anchor."
    )


class MomentumContrastConfig(MethodSection):
    """The fields of MoCo v1 and v2: a queue of keys from a slowly moving encoder."""

    min_views: ClassVar[int] = 2

    dim: Features
    temperature: Positive
    momentum: Fraction = Field(description="Of the key encoder; 0 is a copy at every step.")
    queue_size: Rows
    symmetric: bool = Field(
        default=False,
        description="Add the loss with views swapped, and queue both keys (the CIFAR-10 demo).",
    )
    shuffle: bool = Field(
        default=True, description="Encode keys in another order than queries: ShuffleBN."
    )
    splits: Count = Field(
        default=1,
        description="Parts of the batch with BatchNorm statistics of their own, over all "
        "processes: the paper's GPUs. Needs train.sync_batch_norm = false.",
    )

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if keys do not fit the queue, or parts of BatchNorm cannot be."""
        keys = batch_size * (2 if self.symmetric else 1)
        if keys > self.queue_size:
            raise ValueError(f"method.queue_size must be at least the {keys} keys of a step")
        if self.splits > 1 and sync_batch_norm:
            raise ValueError("method.splits takes statistics apart: train.sync_batch_norm = false")
        if batch_size % self.splits:
            raise ValueError(f"train.batch_size must be divisible by method.splits ({self.splits})")


class MoCoConfig(MomentumContrastConfig):
    """MoCo (He et al. 2020, arXiv:1911.05722): a linear head."""

    name: Literal["moco-v1"]


class MoCoV2Config(MomentumContrastConfig):
    """MoCo v2 (Chen et al. 2020, arXiv:2003.04297): SimCLR's head, views and schedule."""

    name: Literal["moco-v2"]
    hidden: Features | None = Field(
        default=None, description="Width of the head's hidden layer; unset is v1's head (table 1)."
    )
