"""Make views out of a decoded store, whose images move to the device for good if it has room."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sslcli.data.batch import Batch
from sslcli.data.feed import Lap, Stock
from sslcli.data.images.feeds import Images, Paced
from sslcli.data.images.store import Store
from sslcli.data.images.views import Views
from sslcli.data.staging import sent, staged
from sslcli.data.unreadable import stand_ins

_AHEAD = 1 << 22  # values of views that a CPU makes at a time


class Packed(Images):
    """Make views of decoded images, which move to the device for good if it has room.

    Args:
        store: All images, decoded; of a plan, without content on torch's meta device.
        views: The views to make of each image.
        device: Where views are needed.
        budget: Bytes that images may take on the device.
    """

    waited = 0.0  # nothing is waited for: images are decoded already
    workers = 0

    def __init__(self, store: Store, views: Views, device: torch.device, budget: float) -> None:
        self.store, self.views, self.device = store, views, device
        self.bad, self._stand_ins = store.bad, stand_ins(len(store), store.bad)
        self.resident = None
        if _fits(store, device, budget):
            images = store.images
            self.resident = images if images.is_meta else images.to(device)

    @property
    def mode(self) -> str:
        """The way of the images to the device."""
        if self.store.is_mapped:
            return "memory-mapped"
        return "packed in memory" if self.resident is None else "packed on the device"

    @property
    def held(self) -> int:
        """Bytes of the images, where they lie in the device's own memory."""
        is_held = self.resident is not None or (
            self.device.type == "cpu" and not self.store.is_mapped
        )
        return len(self.store) * self.store.images[:1].nbytes if is_held else 0

    def remedy(self, machine_share: int) -> str:
        """Return an empty text, since nothing is waited for."""
        return ""

    def made_at_once(self, size: int) -> int:
        """Return how many batches' views a CPU makes at once: their fixed cost is shared."""
        if self.device.type != "cpu":
            return 1
        return max(1, _AHEAD // (size * max(1, self.views.values)))

    def stock(self, size: int) -> Stock:
        """Return the memory of views, of which the ones before live on until the next are made."""
        image = self.store.images[:1].nbytes
        group = min(size * self.made_at_once(size), len(self.store))  # or an epoch ends before
        whole = 4 * self.views.values * group
        making = group * image + self.views.scratch(group, image, self.device)
        is_double = self.resident is not None and not self.store.is_mapped
        return Stock(whole, 2 * whole + making, len(self.store) * image if is_double else 0)

    def paced(self, batches: Sequence[np.ndarray], epoch: int) -> Paced:
        """Yield each batch of views with its rows on the host."""
        if not batches:
            return
        lengths = [len(batch) for batch in batches]
        order = torch.from_numpy(self._stand_ins[np.concatenate(batches)])
        if self.device.type == "cpu":
            yield from self._ahead(order, lengths, epoch)
            return
        hosts = order.split(lengths)
        for host, (images, rows) in zip(hosts, self._images(order, lengths), strict=True):
            yield host, Batch(self.views(images, rows, epoch), rows)

    def _images(self, order: Tensor, lengths: list[int]) -> Iterator[list[Tensor]]:
        """Yield the images and rows of each batch on an accelerator."""
        if self.resident is not None:
            for rows in order.to(self.device).split(lengths):
                yield [self.resident.index_select(0, rows), rows]
            return
        gathered = ([self.store.gather(rows), rows] for rows in order.split(lengths))
        yield from staged(gathered, self.device)

    def _ahead(self, order: Tensor, lengths: list[int], epoch: int) -> Paced:
        """Make the views of several small batches at a time.

        A view depends on its row and epoch alone, so nothing else changes.
        """
        count = self.made_at_once(max(lengths))
        groups = [lengths[i : i + count] for i in range(0, len(lengths), count)]
        for rows, group in zip(order.split(list(map(sum, groups))), groups, strict=True):
            views = [view.split(group) for view in self.views(self.store.gather(rows), rows, epoch)]
            for batch, *own in zip(rows.split(group), *views, strict=True):
                yield batch, Batch(own, batch)

    def timed(self, rows: np.ndarray, lap: Lap) -> Batch:
        """Make one batch; its phases are "decode" (out of the store), "transfer" and "views"."""
        places = torch.from_numpy(rows)
        if self.resident is not None:
            places = places.to(self.device)
            images = self.resident.index_select(0, places)
            lap("decode")
        else:
            images = self.store.gather(places)
            lap("decode")
            images, places = sent([images, places], self.device)
        lap("transfer")
        views = self.views(images, places, 0)
        lap("views")
        return Batch(views, places)


def _fits(store: Store, device: torch.device, budget: float) -> bool:
    """Tell whether images may stay on the device: within budget and half of its free memory."""
    if device.type == "cpu" or store.is_mapped:
        return False
    if device.type == "cuda":
        budget = min(budget, torch.cuda.mem_get_info(device)[0] / 2)
    return store.images.nbytes <= budget
