"""Make the batches of a step by hand, phase by phase, so that each phase can be timed."""

from dataclasses import replace

import numpy as np

from sslcli.data.batch import Batch
from sslcli.data.feed import Lap
from sslcli.data.loader import TrainLoader
from sslcli.data.order import epoch_order
from sslcli.engine.loop import Training


class StepRows:
    """The rows of each micro-batch of a step, in the order of the first epoch, over and over."""

    def __init__(self, training: Training) -> None:
        train, source = training.config.train, own_loader(training).source
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
        training: Its loader says how samples are kept.
        rows: Rows of each micro-batch, [parts, B] int64.
        lap: Told when a phase ends: "decode", "crop" (streamed images only), "tokenise" (texts
            only), "transfer", "views".
    """
    loader = own_loader(training)
    return [_labelled(loader, loader.feed.timed(part, lap)) for part in rows]


def own_loader(training: Training) -> TrainLoader:
    """Return the loader of a training; only this project's own can be timed by phases."""
    assert isinstance(training.loader, TrainLoader), "only our own loader can be taken apart"
    return training.loader


def worker_processes(training: Training) -> int:
    """Return how many processes read beside the training."""
    return own_loader(training).feed.workers


def _labelled(loader: TrainLoader, batch: Batch) -> Batch:
    """Return a batch with the labels that its rows have, if there are any."""
    if loader.labels is None:
        return batch
    return replace(batch, labels=loader.labels[batch.rows])
