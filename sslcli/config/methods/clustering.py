"""Sections of the methods that cluster online."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslcli.config.duration import Duration
from sslcli.config.section import Count, Features, MethodSection, Positive


class SwAVConfig(MethodSection):
    """SwAV (Caron et al. 2020, arXiv:2006.09882): the first two views are assigned to clusters."""

    min_views: ClassVar[int] = 2

    name: Literal["swav"]
    hidden: Features
    dim: Features
    prototypes: Features
    temperature: Positive
    epsilon: Positive = Field(description="Entropy weight of the assignment; smaller is sharper.")
    iterations: Count = Field(description="Sinkhorn rounds.")
    freeze_prototypes: Duration = Field(description="The prototypes stay still for this long.")
    queue: Annotated[int, Field(ge=0, le=2**24)] = Field(
        default=0, description="Earlier embeddings that join in the assignment, for small batches."
    )
    queue_from: Duration = Field(
        default=Duration("0 epochs"), description="When the queue begins to fill."
    )

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if a step's embeddings do not fit the queue."""
        if 0 < self.queue < batch_size:
            raise ValueError(f"method.queue must be 0, or at least train.batch_size ({batch_size})")
