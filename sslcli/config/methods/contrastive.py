"""Sections of the methods whose negatives are the other samples of the batch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sslcli.config.section import Features, Fraction, LabelledSection, MethodSection, Positive


class SimCLRConfig(MethodSection):
    """SimCLR (Chen et al. 2020, arXiv:2002.05709); `projector` is the ablation of figure 8."""

    min_views: ClassVar[int] = 2
    contrasts_batch: ClassVar[bool] = True

    name: Literal["simclr"]
    projector: Literal["mlp", "linear", "none"] = "mlp"
    hidden: Features
    dim: Features
    temperature: Positive
    add_directions: bool = Field(
        default=False,
        description="Add the means of both directions, as the official code does, rather than "
        "average them: twice the loss, which LARS's unadapted tensors feel.",
    )


class SimCLRv2Config(MethodSection):
    """SimCLR v2 (Chen et al. 2020, arXiv:2006.10029): a deeper head, and a memory if `queue`."""

    min_views: ClassVar[int] = 2
    contrasts_batch: ClassVar[bool] = True

    name: Literal["simclr-v2"]
    projector_layers: Annotated[int, Field(ge=2, le=4)]
    hidden: Features
    dim: Features
    temperature: Positive
    add_directions: bool = Field(default=False, description="As in simclr.")
    queue: Annotated[int, Field(ge=0, le=2**24)] = Field(
        default=0, description="Earlier embeddings that are negatives too; 0 is no memory."
    )
    momentum: Fraction = Field(
        default=0.999, description="Of the moving average whose embeddings fill the queue."
    )

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if a step's embeddings do not fit the queue."""
        if 0 < self.queue < batch_size:
            raise ValueError(f"method.queue must be 0, or at least train.batch_size ({batch_size})")


class SupConConfig(LabelledSection):
    """Supervised contrastive learning (Khosla et al. 2020, arXiv:2004.11362), its first stage."""

    min_views: ClassVar[int] = 2
    contrasts_batch: ClassVar[bool] = True

    name: Literal["supcon"]
    projector: Literal["mlp", "linear"] = Field(
        default="mlp", description="linear is the ImageNet code's: no hidden layer and no bias."
    )
    hidden: Features | None = Field(default=None, description="Width inside the mlp.")
    dim: Features
    temperature: Positive
    form: Literal["out", "in"] = Field(
        default="out", description="Where the mean over positives stands: L_out or L_in (eq. 2, 3)."
    )
    base_temperature: Positive | None = Field(
        default=None,
        description="Multiply the loss by temperature / this, as the official code does.",
    )

    @model_validator(mode="after")
    def _check(self) -> "SupConConfig":
        if self.projector == "mlp" and self.hidden is None:
            raise ValueError('hidden is missing, which projector = "mlp" needs')
        return self
