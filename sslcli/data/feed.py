"""The protocol of all feeds of images and texts, and the feed of pairs of both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from sslcli.data.batch import Batch, Tokens
from sslcli.data.unreadable import Bad


@runtime_checkable
class Lap(Protocol):
    """Called when a phase ends."""

    def __call__(self, name: str, times: float = 1.0) -> None:
        """Add the time since the last call, multiplied by `times`, to a phase."""


@dataclass(frozen=True)
class Stock:
    """Bytes that batches take besides the data that they are made of.

    Attributes:
        step: On the device while a batch is worked on: itself, and those made together with it.
        making: On the device while the next batches are made, all of these included.
        host: In the host's memory: batches on their way, worker processes, and decoded images
            that are kept there beside a copy on an accelerator.
    """

    step: int
    making: int
    host: int = 0

    def __add__(self, other: "Stock") -> "Stock":
        return Stock(self.step + other.step, self.making + other.making, self.host + other.host)


@runtime_checkable
class Feed(Protocol):
    """Make batches of rows."""

    @property
    def mode(self) -> str:
        """The way of the samples to the device, in words."""

    @property
    def waited(self) -> float:
        """Seconds in which the device has waited for batches."""

    @property
    def bad(self) -> Bad:
        """Rows known to be unreadable, each with the reason."""

    @property
    def workers(self) -> int:
        """Processes that read beside the training."""

    @property
    def held(self) -> int:
        """Bytes of the device's own memory in which the data lies for the whole training."""

    def remedy(self, machine_share: int) -> str:
        """Return what to do when batches are waited for, in one sentence; empty if they never are.

        Args:
            machine_share: Processes that train on this machine.
        """

    def made_at_once(self, size: int) -> int:
        """Return how many batches of a size are made at once, from one piece of memory."""

    def stock(self, size: int) -> Stock:
        """Return the memory that batches of `size` rows take."""

    def feed(self, batches: Sequence[np.ndarray], epoch: int) -> Iterator[Batch]:
        """Yield a batch without labels for each of the `batches` of rows, [B] int64."""

    def example(self, count: int) -> Batch:
        """Return a batch of the shapes that `feed` yields, with arbitrary content."""

    def timed(self, rows: np.ndarray, lap: Lap) -> Batch:
        """Make the batch of some rows, [B], in this process, and tell `lap` as each phase ends."""


@runtime_checkable
class ImageFeed(Feed, Protocol):
    """Make batches of rows, some of which may be unreadable."""

    def paced(self, batches: Sequence[np.ndarray], epoch: int) -> Iterator[tuple[Tensor, Batch]]:
        """Yield what `feed` does, each with its rows on the host: stand-ins for unreadable ones."""


@runtime_checkable
class TextFeed(Feed, Protocol):
    """Make batches of rows that are all readable."""

    def texts(self, rows: Tensor, epoch: int) -> list[Tokens]:
        """Return the texts of some rows, [B] int64 on the host; one a view, on the device."""


class Paired:
    """Make batches of images with the texts that belong to them.

    Args:
        images: It decides which row stands in for an unreadable one.
        words: Texts of the same rows.
    """

    def __init__(self, images: ImageFeed, words: TextFeed) -> None:
        self.images, self.words = images, words

    @property
    def mode(self) -> str:
        """The way of images and texts to the device."""
        return f"{self.images.mode}, texts {self.words.mode}"

    @property
    def waited(self) -> float:
        """Seconds in which the device has waited for either."""
        return self.images.waited + self.words.waited

    @property
    def bad(self) -> Bad:
        """Why an image is unreadable, by row."""
        return self.images.bad

    @property
    def workers(self) -> int:
        """Processes that decode images."""
        return self.images.workers

    @property
    def held(self) -> int:
        """Bytes of the device's memory that decoded images take."""
        return self.images.held

    def remedy(self, machine_share: int) -> str:
        """Return what to do when batches are waited for."""
        each = (feed.remedy(machine_share) for feed in (self.images, self.words))
        return "; ".join(filter(None, each))

    def made_at_once(self, size: int) -> int:
        """Return how many batches' images are made at once."""
        return self.images.made_at_once(size)

    def stock(self, size: int) -> Stock:
        """Return the memory that batches of images and their texts take."""
        return self.images.stock(size) + self.words.stock(size)

    def feed(self, batches: Sequence[np.ndarray], epoch: int) -> Iterator[Batch]:
        """Yield the views and texts of each batch of rows."""
        for rows, batch in self.images.paced(batches, epoch):
            yield replace(batch, texts=self.words.texts(rows, epoch))

    def example(self, count: int) -> Batch:
        """Return a batch of the right shapes."""
        return replace(self.images.example(count), texts=self.words.example(count).texts)

    def timed(self, rows: np.ndarray, lap: Lap) -> Batch:
        """Make one batch, the images first."""
        batch = self.images.timed(rows, lap)
        return replace(batch, texts=self.words.timed(rows, lap).texts)
