"""The section of contrastive multiview coding."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from sslcli.config.methods.instance import Draws, Images
from sslcli.config.section import DataFacts, Features, Fraction, MethodSection, Positive


class CMCConfig(MethodSection):
    """CMC (Tian et al. 2020, arXiv:1906.05849); `encoder.split` says what its views are.

    They are parts of one crop, as `views` has one in the paper; of several crops each part has its
    own, in turn.
    """

    contrasts_batch: ClassVar[bool] = True
    contrasts_channels: ClassVar[bool] = True
    builtin: ClassVar[str] = "scenes-colour"

    name: Literal["cmc"]
    dim: Features
    temperature: Positive
    loss: Literal["nce", "softmax", "batch"] = Field(
        description="Tell the other view's row from drawn ones one by one (the paper), or by a "
        "softmax over all (the author's advice); or from the other views of the batch, no memory."
    )
    negatives: Draws = Field(description="Rows drawn for each image; 0 with the loss of a batch.")
    momentum: Fraction = Field(
        default=0.5, description="Share of its former vector that a row keeps."
    )
    graph: Literal["full", "core"] = Field(
        default="full",
        description="Of three views or more: contrast every pair, or the first with each other.",
    )
    num_instances: Images | None = Field(
        default=None, description="Training images; filled in from the data."
    )

    @model_validator(mode="after")
    def _check(self) -> "CMCConfig":
        if (self.loss == "batch") != (self.negatives == 0):
            raise ValueError(
                "loss = nce and softmax draw negatives, such as 4096; batch has negatives = 0"
            )
        return self

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if there is no other image in a batch to be told from."""
        if self.loss == "batch" and batch_size < 2:
            raise ValueError("method.loss = batch needs a train.batch_size of at least 2")

    def complete(self, facts: DataFacts) -> "CMCConfig":
        """Return the section with the number of training images, unless it has one already."""
        if self.num_instances is not None:
            return self
        return self.model_copy(update={"num_instances": facts.rows})
