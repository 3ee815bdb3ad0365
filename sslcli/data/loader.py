"""Batches for training: the same ones whatever the number of workers, processes and resumes."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from sslcli.config.data import DataConfig
from sslcli.data.batch import Batch
from sslcli.data.evaluation import eval_batches
from sslcli.data.feed import Feed, ImageFeed, Paired
from sslcli.data.images.packed import Packed
from sslcli.data.images.store import NotPacked, foresee, pack
from sslcli.data.images.streamed import Streamed
from sslcli.data.images.views import Views
from sslcli.data.order import Deal, epoch_order, of_like_lengths
from sslcli.data.sources.base import Source, noun
from sslcli.data.streaming import worker_count
from sslcli.data.text.feed import TextViews, Tokenised
from sslcli.data.unreadable import Bad
from sslcli.errors import ConfigError

__all__ = ["TrainLoader", "eval_batches"]

Progress = Callable[[int, int], None] | None


class TrainLoader:
    """Shuffle a source into batches of views, of texts, or of both, on the device.

    Images of one size are packed: they lie decoded in one tensor, on the device where it has room,
    and no workers run. Others are streamed: workers decode and crop. An unreadable image is
    replaced by the next readable row in either mode; `Batch.rows` names the row that was used.

    Texts are padded to the longest of their batch and tokenised once. A batch holds what the
    shuffled order has for it, as in the papers; `data.lengths` = "alike" changes that order.

    Every row is seen once an epoch by one process, and global batch i holds the same rows whatever
    the number of processes, as `order.Deal` says; so a run may go on with another number of them.

    Attributes:
        feed: What makes batches of rows.
        labels: Class of each row on the device, [N] int64; None when batches have none.

    Args:
        source: What to train on.
        data: Budgets, workers and how many images may be unreadable.
        views: What is made of each image; with None, no image is read.
        batch_size: Images of a batch over all processes, divisible by `world_size`.
        seed: Seed of the order.
        device: Where batches are needed.
        drop_last: Leave out the last step of an epoch if it is smaller than the others.
        parts: Batches of a step.
        rank: Number of this process.
        world_size: Number of processes.
        machine_share: How many of them run on this machine and share its memory and cores.
        labelled: Whether batches have labels.
        texts: What is made of each text; with None, no text is read.
        least: Fewest images of a batch that a process can work on; BatchNorm takes 2.
        progress: Called with (images decoded, images) while packing.
        is_plan: Only look at the data, to tell what batches of it would take; make none.

    Raises:
        ConfigError: If a batch is larger than the data, or one is too small for the processes.
        DataError: If too many images are unreadable.
        ValueError: If a batch does not divide among the processes.
    """

    def __init__(
        self,
        source: Source,
        data: DataConfig,
        views: Views | None,
        *,
        batch_size: int,
        seed: int,
        device: torch.device | str,
        drop_last: bool,
        parts: int = 1,
        rank: int = 0,
        world_size: int = 1,
        machine_share: int = 1,
        texts: TextViews | None = None,
        least: int = 1,
        labelled: bool = True,
        progress: Progress = None,
        is_plan: bool = False,
    ) -> None:
        self._keep = foresee if is_plan else pack
        self.source, self.seed, self.device = source, seed, torch.device(device)
        self._deal = Deal(len(source), batch_size, drop_last, rank, world_size, parts)
        _refuse_small(self._deal, least, noun(source))
        self._machine_share = machine_share
        self.feed: Feed = self._open(data, views, texts, progress)
        self._lengths: np.ndarray | None = None
        if data.lengths == "alike" and isinstance(self.feed, Tokenised) and not is_plan:
            self._lengths = self.feed.lengths()
        labels = source.labels if labelled else None
        self.labels = None if labels is None else torch.from_numpy(labels).to(self.device)

    @property
    def mode(self) -> str:
        """The way of the images to the device, with the reason when they are streamed."""
        return self.feed.mode

    @property
    def bad(self) -> Bad:
        """Rows known to be unreadable, each with the reason."""
        return self.feed.bad

    @property
    def waited(self) -> float:
        """Seconds this process's device has waited for decoded batches.

        A guard compares it with the time that steps take, to tell when data holds up training;
        0 for packed images.
        """
        return self.feed.waited

    @property
    def remedy(self) -> str:
        """Advice when waiting dominates, in one sentence; empty for packed images."""
        return self.feed.remedy(self._machine_share)

    @property
    def images(self) -> int:
        """Images of an epoch, over all processes."""
        return self._deal.rows

    def __len__(self) -> int:
        return len(self._deal)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one pass over the data, from the `start`-th on."""
        batches = self._deal.batches(self._order(epoch), start)
        for number, batch in enumerate(self.feed.feed(batches, epoch), start):
            labels = None if self.labels is None else self.labels[batch.rows]
            yield replace(batch, labels=labels, weight=self._deal.weight(number))

    def _order(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch's rows; a function of seed, epoch and the texts' lengths."""
        order = epoch_order(len(self.source), self.seed, epoch)
        if self._lengths is None:
            return order
        kept = order[: self._deal.rows]
        return of_like_lengths(kept, self._lengths, self._deal.batch_size, self.seed, epoch)

    def _open(
        self, data: DataConfig, views: Views | None, texts: TextViews | None, progress: Progress
    ) -> Feed:
        words = Tokenised(self.source, texts, self.device) if texts else None
        if views is None:
            assert words, "the config has views of images or of texts"
            return words
        images = self._open_images(data, views, progress)
        return Paired(images, words) if words else images

    def _open_images(self, data: DataConfig, views: Views, progress: Progress) -> ImageFeed:
        machine_share = self._machine_share
        store = self._keep(self.source, data, progress, machine_share)
        if not isinstance(store, NotPacked):
            budget = data.memory_budget_gib * 2**30 / machine_share
            return Packed(store, views, self.device, budget)
        shares = self.device.type == "cpu"
        workers = worker_count(data.workers, shares_cores=shares, machine_share=machine_share)
        return Streamed(self.source, views, self.device, workers, data.max_bad_fraction, store)


def _refuse_small(deal: Deal, least: int, rows: str) -> None:
    """Raise ConfigError when there is no batch, or one leaves a process too few `rows`."""
    if not len(deal):
        what = f"{deal.n} {rows} are too few for one batch of {deal.step_size}"
        hint = "lower train.batch_size, or set train.drop_last to false"
        raise ConfigError(what, "train.batch_size", hint)
    size, needed = deal.size(len(deal) - 1), least * deal.world_size
    if size >= needed:
        return
    which, hint = "every batch", "raise train.batch_size"
    if size < deal.batch_size:
        which = "the last batch of an epoch"
        hint = "set train.drop_last=true, or another train.batch_size"
    what = f"{which} has {size} of {deal.n} {rows} and needs {needed}: {least} for each process"
    raise ConfigError(what, "train.batch_size", hint)
