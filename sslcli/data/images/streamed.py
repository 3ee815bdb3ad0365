"""Decode and crop images in workers as training goes, and do the rest on the device."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslcli.data.batch import Batch
from sslcli.data.feed import Lap, Stock
from sslcli.data.images.feeds import Images, Paced
from sslcli.data.images.store import NotPacked
from sslcli.data.images.views import Views
from sslcli.data.sources.base import Source
from sslcli.data.staging import sent, staged
from sslcli.data.streaming import Stream
from sslcli.data.unreadable import Bad, most, reason, refuse_too_many
from sslcli.data.waiting import Waiting
from sslcli.environment import core_count
from sslcli.errors import DataError

_SAMPLE = 32  # images that are decoded and cropped to time a batch of them
_WORKER = 60 << 20  # bytes of a worker's own, measured while it decoded photos of 500 pixels
Key = tuple[int, np.ndarray]  # epoch, and rows of a batch, [B] int64


class Streamed(Images):
    """Decode and crop in workers, do the rest on the device.

    Args:
        source: Images of any size.
        views: The views to make of each image.
        device: Where views are needed.
        workers: Processes; 0 decodes in this one.
        max_bad: Share of all images of the set that may be unreadable.
        cause: Why the images are not packed.
    """

    def __init__(
        self,
        source: Source,
        views: Views,
        device: torch.device,
        workers: int,
        max_bad: float,
        cause: NotPacked,
    ) -> None:
        self.source, self.views, self.device = source, views, device
        self.workers, self.cause = workers, cause
        self.bad, self._max_bad = Bad(), max_bad
        crops = _Crops(source, views, most(source, max_bad))
        self._stream = Stream(crops, workers, pin_memory=device.type == "cuda")
        self._waiting = Waiting(device)

    held = 0

    @property
    def mode(self) -> str:
        """The way of the images to the device."""
        return f"streamed ({self.cause.why})"

    @property
    def waited(self) -> float:
        """Seconds in which the device has waited for decoded batches."""
        return self._waiting.seconds

    def remedy(self, machine_share: int) -> str:
        """Return what to do when batches are waited for, in one sentence."""
        workers, cores = self.workers * machine_share, core_count()
        ways = ["raise data.workers"] if workers < cores else []
        ways += [self.cause.remedy, "store smaller images", "use a faster disk"]
        return f"the workers are {workers} and the cores {cores}: {', or '.join(ways)}"

    def made_at_once(self, size: int) -> int:
        """Return 1: each batch is made by itself."""
        return 1

    def stock(self, size: int) -> Stock:
        """Return the memory of views, of crops on their way, and of the workers that cut them."""
        cut = self.views.cut_values  # bytes, too: crops are uint8
        whole = 4 * self.views.values * size
        making = 2 * size * cut + self.views.scratch(size, 0, self.device)
        ahead = self.workers * self._stream.ahead
        return Stock(whole, 2 * whole + making, ahead * size * cut + self.workers * _WORKER)

    def paced(self, batches: Sequence[np.ndarray], epoch: int) -> Paced:
        """Yield each batch of views with its rows on the host."""
        keys, hosts = [(epoch, batch) for batch in batches], deque[Tensor]()
        for rows, *crops in self._waiting.over(staged(self._received(keys, hosts), self.device)):
            yield hosts.popleft(), Batch(self._finished(crops, rows, epoch), rows)

    def _received(self, keys: Sequence[Key], hosts: deque[Tensor]) -> Iterator[list[Tensor]]:
        """Yield rows and crops as the workers made them, and enter the rows in `hosts` too."""
        for tensors, bad in self._stream.over(keys):
            self.bad |= bad
            refuse_too_many(self.source, self.bad, self._max_bad)
            hosts.append(tensors[0])
            yield tensors

    def _finished(self, crops: Sequence[Tensor], rows: Tensor, epoch: int) -> list[Tensor]:
        planes = [crop.permute(0, 3, 1, 2) for crop in crops]  # [B, 3, S, S], channels last
        return self.views.finish(planes, rows, epoch)

    def timed(self, rows: np.ndarray, lap: Lap) -> Batch:
        """Make one batch of a sample of its images, which count as all of them.

        Its phases are "decode", "crop", "transfer" and "views".
        """
        crops = [
            torch.from_numpy(np.resize(np.stack(view), (len(rows), *view[0].shape)))
            for view in zip(*self._sample(rows, lap), strict=True)
        ]
        lap("crop")
        places, *crops = sent([torch.from_numpy(rows), *crops], self.device)
        lap("transfer")
        views = self._finished(crops, places, 0)
        lap("views")
        return Batch(views, places)

    def _sample(self, rows: np.ndarray, lap: Lap) -> list[list[np.ndarray]]:
        """Decode and crop some readable images, and count the time that all rows would take."""
        asked, cuts = rows[:_SAMPLE].tolist(), []
        share = len(rows) / len(asked)
        for row in asked:
            with suppress(DataError):
                image = self.source.load(row)
                lap("decode", share)
                cuts.append(self.views.cut(image, row, 0))
                lap("crop", share)
        if not cuts:
            what = f"none of {len(asked)} images could be read"
            raise DataError(what, self.source.name, f"see: ssl data check {self.source.name}")
        return cuts


class _Crops(Dataset):
    """Map (epoch, rows) to the rows used and one batch of crops a view, [B, S, S, 3] uint8."""

    def __init__(self, source: Source, views: Views, most_bad: float) -> None:
        self.source, self.views, self.most_bad, self._known = source, views, most_bad, Bad()

    def __getitem__(self, key: Key) -> tuple[list[Tensor], Bad]:
        """Return the tensors of a batch, and the unreadable rows that were met for it.

        It does not return rows of earlier batches, which would be much to send. It does return rows
        that this worker has met before, since their batch may have been discarded.
        """
        epoch, rows = key
        used, crops, met = [], [], Bad()
        for row in rows.tolist():
            image, row = self._readable(row, met)
            if image is None:
                return [], self._known  # the receiver refuses it
            used.append(row)
            crops.append(self.views.cut(image, row, epoch))
        batches = [torch.from_numpy(np.stack(view)) for view in zip(*crops, strict=True)]
        return [torch.tensor(used), *batches], met

    def _readable(self, row: int, met: Bad) -> tuple[np.ndarray | None, int]:
        """Decode a row, or the next one that is readable, entering in `met` those that are not.

        None when too many are unreadable, so that missing files are not all tried one by one.
        """
        for candidate in chain(range(row, len(self.source)), range(row)):
            if candidate not in self._known:
                try:
                    return self.source.load(candidate), candidate
                except DataError as error:
                    self._known[candidate] = reason(error)
            met[candidate] = self._known[candidate]
            if len(self._known) > self.most_bad:
                break
        return None, row
