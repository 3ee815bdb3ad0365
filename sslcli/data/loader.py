"""Batches for training: the same ones whatever the number of workers, processes and resumes."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from sslcli.config.schema import DataConfig
from sslcli.data.bad import Bad
from sslcli.data.base import Source
from sslcli.data.batch import Batch
from sslcli.data.evaluation import eval_batches
from sslcli.data.feeds import Packed, Streamed
from sslcli.data.order import epoch_batches, epoch_order
from sslcli.data.store import pack
from sslcli.data.streaming import worker_count
from sslcli.data.views import Views
from sslcli.errors import ConfigError

__all__ = ["TrainLoader", "eval_batches"]

Progress = Callable[[int, int], None] | None


class TrainLoader:
    """Shuffle a source into batches of views on the device.

    Images of one size are packed: they lie decoded in one tensor, on the device where it has room,
    and no workers run. Others are streamed: workers decode and crop. An unreadable image is
    replaced by the next readable row in either mode; `Batch.rows` names the row that was used.

    Args:
        source: What to train on.
        data: Budgets, workers and how many images may be unreadable.
        views: What is made of each image.
        batch_size: Images of a batch over all processes, divisible by `world_size`.
        seed: Seed of the order.
        device: Where batches are needed.
        drop_last: Leave out the last, smaller batch of an epoch.
        rank: Number of this process.
        world_size: Number of processes.
        progress: Called with (images decoded, images) while packing.

    Raises:
        ConfigError: If a batch is larger than the data.
        DataError: If too many images are unreadable.
    """

    def __init__(
        self,
        source: Source,
        data: DataConfig,
        views: Views,
        *,
        batch_size: int,
        seed: int,
        device: torch.device | str,
        drop_last: bool,
        rank: int = 0,
        world_size: int = 1,
        progress: Progress = None,
    ) -> None:
        self.source, self.seed, self.device = source, seed, torch.device(device)
        self._batch_size, self._drop_last = batch_size, drop_last
        self._share = {"rank": rank, "world_size": world_size}
        self._length = len(self._batches(np.arange(len(source))))
        if not self._length:
            what = f"{len(source)} images are too few for one batch of {batch_size}"
            hint = "lower train.batch_size, or set train.drop_last to false"
            raise ConfigError(what, "train.batch_size", hint)
        self._feed = self._open(data, views, progress)
        labels = source.labels
        self._labels = None if labels is None else torch.from_numpy(labels).to(self.device)

    @property
    def mode(self) -> str:
        """How images get to the device."""
        return self._feed.mode

    @property
    def bad(self) -> Bad:
        """Why a row is unreadable, by row, as far as is known."""
        return self._feed.bad

    def __len__(self) -> int:
        return self._length

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one pass over the data, from the `start`-th on."""
        order = epoch_order(len(self.source), self.seed, epoch)
        for views, rows in self._feed.feed(self._batches(order)[start:], epoch):
            yield Batch(views, rows, None if self._labels is None else self._labels[rows])

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        return epoch_batches(order, self._batch_size, drop_last=self._drop_last, **self._share)

    def _open(self, data: DataConfig, views: Views, progress: Progress) -> Packed | Streamed:
        store = pack(self.source, data, progress)
        if store is not None:
            return Packed(store, views, self.device, data.memory_budget_gib * 2**30)
        shares, world_size = self.device.type == "cpu", self._share["world_size"]
        workers = worker_count(data.workers, shares_cores=shares, world_size=world_size)
        return Streamed(self.source, views, self.device, workers, data.max_bad_fraction)
