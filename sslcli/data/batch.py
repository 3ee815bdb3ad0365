"""The batch that a method's `forward` receives: views of images, tokens of texts, or both."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Sentences as numbers, padded to the longest.

    Attributes:
        ids: Number of each token, [B, L] int64.
        mask: Whether a place holds a token rather than padding, [B, L] bool.
    """

    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> "Tokens":
        """Return the same tokens on a device."""
        return Tokens(self.ids.to(device), self.mask.to(device))

    def split(self, count: int) -> list["Tokens"]:
        """Return `count` parts of nearly equal size."""
        pairs = zip(self.ids.tensor_split(count), self.mask.tensor_split(count), strict=True)
        return [Tokens(ids, mask) for ids, mask in pairs]


@dataclass(frozen=True)
class Batch:
    """One process's part of a batch, on the training device.

    Attributes:
        views: One tensor a view, each [B, 3, H, W], float32, normalised; sizes may differ. A view
            in patches is [B, G, G, 3, s, s].
        rows: Index of each sample in the data set, [B] int64; memory banks use it.
        labels: Class of each sample, [B] int64; None when the data has none, or the
            method's section neither learns nor watches them. -1 of one without, where the section
            only watches.
        weight: What a mean over these samples is multiplied by, so that its average over processes
            and over the parts of a step is the mean over all samples; 1.0 when parts are even.
        texts: One a text view, in the order of the views' config.
    """

    views: list[Tensor]
    rows: Tensor
    labels: Tensor | None = None
    weight: float = 1.0
    texts: list[Tokens] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def chunks(self, count: int) -> Iterator["Batch"]:
        """Yield `count` parts of nearly equal size."""
        views = [view.tensor_split(count) for view in self.views]
        texts = [text.split(count) for text in self.texts]
        labels = [None] * count if self.labels is None else self.labels.tensor_split(count)
        for part, rows in enumerate(self.rows.tensor_split(count)):
            yield replace(
                self,
                views=[view[part] for view in views],
                rows=rows,
                labels=labels[part],
                texts=[text[part] for text in texts],
            )
