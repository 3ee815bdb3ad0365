"""Do by hand, phase by phase, what the loader of a training does, so that each can be timed."""

from contextlib import suppress
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sslcli.data.batch import Batch
from sslcli.data.images.feeds import Packed, Streamed
from sslcli.data.loader import TrainLoader
from sslcli.data.order import epoch_order
from sslcli.data.staging import staged
from sslcli.engine.loop import Training
from sslcli.errors import DataError

_SAMPLE = 32  # images that are decoded and cropped to time a batch of them


@runtime_checkable
class Lap(Protocol):
    """Called when a phase ends."""

    def __call__(self, name: str, times: float = 1.0) -> None:
        """Add the time since the last call to that of a phase, so many times."""


class StepRows:
    """The rows of each micro-batch of a step, in the order of the first epoch, round and round."""

    def __init__(self, training: Training) -> None:
        train, source = training.config.train, image_loader(training).source
        self._order = epoch_order(len(source), training.config.seed, 0)
        self._shape = train.accumulate, train.batch_size // train.accumulate

    def __call__(self, step: int) -> np.ndarray:
        """Return the rows of a step, [parts, B] int64."""
        parts, size = self._shape
        places = np.arange(step * parts * size, (step + 1) * parts * size)
        return self._order.take(places, mode="wrap").reshape(self._shape)


def prepare(training: Training, rows: np.ndarray, lap: Lap) -> list[Batch]:
    """Do by hand, in this process, what the loader does for the micro-batches of a step.

    Args:
        training: Its loader says how images are kept.
        rows: Rows of each micro-batch, [parts, B] int64.
        lap: Told when a phase ends: "decode", "crop" (streamed images only), "transfer", "views".
    """
    loader, batches = image_loader(training), []
    for part in map(torch.from_numpy, rows):
        if isinstance(loader.feed, Packed):
            batch = _prepare_packed(loader.feed, part, lap)
        else:
            batch = _prepare_streamed(loader.feed, part, lap)
        batches.append(_labelled(loader, batch))
    return batches


def _prepare_packed(feed: Packed, rows: Tensor, lap: Lap) -> Batch:
    if feed.resident is not None:
        rows = rows.to(feed.device)
        images = feed.resident.index_select(0, rows)
        lap("decode")
    else:
        images = feed.store.gather(rows)
        lap("decode")
        (images, rows), *_ = staged([[images, rows]], feed.device)
    lap("transfer")
    views = feed.views(images, rows, 0)
    lap("views")
    return Batch(views, rows)


def _prepare_streamed(feed: Streamed, rows: Tensor, lap: Lap) -> Batch:
    sample = _sample(feed, rows, lap)
    crops = [
        np.resize(np.stack(view), (len(rows), *view[0].shape)) for view in zip(*sample, strict=True)
    ]
    lap("crop")
    (rows, *planes), *_ = staged([[rows, *map(torch.from_numpy, crops)]], feed.device)
    lap("transfer")
    views = feed.views.finish([plane.permute(0, 3, 1, 2) for plane in planes], rows, 0)
    lap("views")
    return Batch(views, rows)


def _sample(feed: Streamed, rows: Tensor, lap: Lap) -> list[list[np.ndarray]]:
    """Decode and crop some readable images of a batch, and count the time that all would take."""
    asked, cuts = rows[:_SAMPLE].tolist(), []
    share = len(rows) / len(asked)
    for row in asked:
        with suppress(DataError):
            image = feed.source.load(row)
            lap("decode", share)
            cuts.append(feed.views.cut(image, row, 0))
            lap("crop", share)
    if not cuts:
        what = f"none of {len(asked)} images could be read"
        raise DataError(what, feed.source.name, f"see: ssl data check {feed.source.name}")
    return cuts


def image_loader(training: Training) -> TrainLoader:
    """Return the loader of a training on images."""
    assert isinstance(training.loader, TrainLoader), "only the loader of images can be taken apart"
    return training.loader


def worker_processes(training: Training) -> int:
    """Return how many processes decode images beside the training."""
    feed = image_loader(training).feed
    return feed.workers if isinstance(feed, Streamed) else 0


def _labelled(loader: TrainLoader, batch: Batch) -> Batch:
    """Return a batch with the labels that its rows have, if there are any."""
    if loader.labels is None:
        return batch
    return replace(batch, labels=loader.labels[batch.rows])
