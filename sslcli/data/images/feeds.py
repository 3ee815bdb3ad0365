"""Two ways from a source to views on the device: out of a decoded store, or through workers."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslcli.data.images.store import NotPacked, Store
from sslcli.data.images.views import Views
from sslcli.data.sources.base import Source
from sslcli.data.staging import staged
from sslcli.data.streaming import Stream
from sslcli.data.unreadable import Bad, most, reason, refuse_too_many, stand_ins
from sslcli.data.waiting import Waiting
from sslcli.environment import core_count
from sslcli.errors import DataError

_AHEAD = 1 << 22  # values of images whose views a CPU makes at a time
Fed = Iterator[tuple[list[Tensor], Tensor]]  # views, and the rows they are of
Key = tuple[int, np.ndarray]  # epoch, and rows of a batch, [B] int64


class Packed:
    """Make views of decoded images, which move to the device for good if it has room.

    Args:
        store: All images, decoded.
        views: What is made of each.
        device: Where views are needed.
        budget: Bytes that images may take on the device.
    """

    waited = 0.0  # nothing is waited for: images are decoded already

    def __init__(self, store: Store, views: Views, device: torch.device, budget: float) -> None:
        self.store, self.views, self.device = store, views, device
        self.bad, self._stand_ins = store.bad, stand_ins(len(store), store.bad)
        self.resident = store.images.to(device) if _fits(store, device, budget) else None

    @property
    def mode(self) -> str:
        """How images get to the device."""
        if self.store.is_mapped:
            return "memory-mapped"
        return "packed in memory" if self.resident is None else "packed on the device"

    def remedy(self, machine_share: int) -> str:
        """Return nothing: there is no waiting to remedy."""
        return ""

    def feed(self, batches: Sequence[np.ndarray], epoch: int) -> Fed:
        """Yield the views of each batch of rows."""
        if not batches:
            return
        lengths = [len(batch) for batch in batches]
        order = torch.from_numpy(self._stand_ins[np.concatenate(batches)])
        if self.resident is not None:
            for rows in order.to(self.device).split(lengths):
                yield self.views(self.resident.index_select(0, rows), rows, epoch), rows
            return
        if self.device.type == "cpu":
            yield from self._ahead(order, lengths, epoch)
            return
        gathered = ([self.store.gather(rows), rows] for rows in order.split(lengths))
        for images, rows in staged(gathered, self.device):
            yield self.views(images, rows, epoch), rows

    def _ahead(self, order: Tensor, lengths: list[int], epoch: int) -> Fed:
        """Make the views of several small batches at a time, so that their fixed cost is shared.

        A view depends on its row and epoch alone, so nothing else changes.
        """
        count = max(1, _AHEAD // (max(lengths) * self.store.images[0].numel()))
        groups = [lengths[i : i + count] for i in range(0, len(lengths), count)]
        for rows, group in zip(order.split(list(map(sum, groups))), groups, strict=True):
            views = [view.split(group) for view in self.views(self.store.gather(rows), rows, epoch)]
            for batch, *own in zip(rows.split(group), *views, strict=True):
                yield own, batch


class Streamed:
    """Decode and crop in workers, do the rest on the device.

    Args:
        source: Images of any size.
        views: What is made of each.
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

    @property
    def mode(self) -> str:
        """How images get to the device."""
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

    def feed(self, batches: Sequence[np.ndarray], epoch: int) -> Fed:
        """Yield the views of each batch of rows."""
        keys = [(epoch, batch) for batch in batches]
        for rows, *crops in self._waiting.over(staged(self._received(keys), self.device)):
            planes = [crop.permute(0, 3, 1, 2) for crop in crops]  # [B, 3, S, S], channels last
            yield self.views.finish(planes, rows, epoch), rows

    def _received(self, keys: Sequence[Key]) -> Iterator[list[Tensor]]:
        for tensors, bad in self._stream.over(keys):
            self.bad |= bad
            refuse_too_many(self.source, self.bad, self._max_bad)
            yield tensors


class _Crops(Dataset):
    """Map (epoch, rows) to the rows used and one batch of crops a view, [B, S, S, 3] uint8."""

    def __init__(self, source: Source, views: Views, most_bad: float) -> None:
        self.source, self.views, self.most_bad, self._known = source, views, most_bad, Bad()

    def __getitem__(self, key: Key) -> tuple[list[Tensor], Bad]:
        """Return the tensors of a batch, and the unreadable rows that were met for it.

        Not those met before: all of them with every batch would be much to send. Nor only those
        that are new to this worker: their batch may be one that is thrown away unseen.
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

        None when too many are not: where all files are gone, nobody waits until each was tried.
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


def _fits(store: Store, device: torch.device, budget: float) -> bool:
    """Tell whether images may stay on the device: within budget and half of its free memory."""
    if device.type == "cpu" or store.is_mapped:
        return False
    if device.type == "cuda":
        budget = min(budget, torch.cuda.mem_get_info(device)[0] / 2)
    return store.images.nbytes <= budget
