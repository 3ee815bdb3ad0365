"""What a method's `forward` receives."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One process's part of a batch, on the training device.

    Attributes:
        views: One tensor a view, each [B, 3, H, W], float32, normalised; sizes may differ.
        rows: Index of each sample in the data set, [B] int64; memory banks use it.
        labels: Class of each sample, [B] int64; None when the data has none, or the
            method's section does not learn them.
        weight: What a mean over these samples is multiplied by, so that its average over processes
            and over the parts of a step is the mean over all samples; 1.0 when parts are even.
    """

    views: list[Tensor]
    rows: Tensor
    labels: Tensor | None = None
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.rows)
