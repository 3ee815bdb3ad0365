"""The base of both feeds of images: views on the device, and shapes to count with."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sslcli.data.batch import Batch
from sslcli.data.images.views import Views

Paced = Iterator[tuple[Tensor, Batch]]  # rows on the host, and the batch of these


class Images(ABC):
    """The base of feeds of images: their views, and the device that needs them."""

    views: Views
    device: torch.device

    @abstractmethod
    def paced(self, batches: Sequence[np.ndarray], epoch: int) -> Paced:
        """Yield each batch of views with its rows on the host."""

    def feed(self, batches: Sequence[np.ndarray], epoch: int) -> Iterator[Batch]:
        """Yield the views of each batch of rows."""
        return (batch for _, batch in self.paced(batches, epoch))

    def example(self, count: int) -> Batch:
        """Return a batch of the right shapes."""
        rows = torch.zeros(count, dtype=torch.int64, device=self.device)
        return Batch(self.views.example(count, self.device), rows)
