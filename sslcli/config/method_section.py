"""The base of every method's section, and the ranges that methods share."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

# DINO's head has the most, 65,536; the bound keeps a weight matrix within 64 bits of memory.
Features = Annotated[int, Field(ge=2, le=2**20)]


class MethodSection(BaseModel):
    """Base of every method's section.

    `min_views` is what `forward` unpacks at least. `contrasts_batch` says that the class is a
    `BatchContrast`, so that `train.chunk_size` can embed a batch in pieces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    min_views: ClassVar[int] = 1
    contrasts_batch: ClassVar[bool] = False

    name: str

    @property
    def learns_labels(self) -> bool:
        """Whether training reads labels, directly or by a teacher; if not, `forward` gets none.

        A section says so by `num_classes`, or overrides this.
        """
        return getattr(self, "num_classes", None) is not None

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if the method cannot work with this global batch or BatchNorm."""
