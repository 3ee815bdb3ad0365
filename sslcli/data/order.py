"""The order in which samples are seen, and which process works on which of them.

The order is a function of (seed, epoch) and of nothing else. Processes and workers are dealt its
rows, never shards of an archive: so every row is seen exactly once an epoch however many processes
there are, also when they outnumber the shards, and a run that goes on with another number of them
sees the batches of an unbroken one. Members are read in place by their offsets, so rows anywhere in
an archive take as many reads as rows in a line.
"""

from dataclasses import dataclass

import numpy as np
import torch

from sslcli.data.counter import uniform

_ORDER, _HOLDOUT, _ALIKE = 101, 102, 103  # streams of the generator that no view draws from
_WINDOW = 32  # batches between which rows change places to be with others of their length


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of n rows, [n] int64, the same wherever it is computed."""
    return np.argsort(_keys(n, seed, epoch, _ORDER), kind="stable")


def of_like_lengths(
    order: np.ndarray, lengths: np.ndarray, size: int, seed: int, epoch: int
) -> np.ndarray:
    """Change the order so that rows of like length are in a batch, [n] int64.

    Every 32 batches are sorted by length among themselves, and come in a drawn order. Rows stay
    within their 32 batches, and those of a last batch that is not whole stay where they are: an
    epoch has the rows that it would have had.

    Args:
        order: What `epoch_order` returns.
        lengths: Of each row, [n].
        size: Rows of a batch over all processes.
        seed: Of the order.
        epoch: Number of the epoch.
    """
    count = len(order) // size
    drawn, changed = _keys(count, seed, epoch, _ALIKE), order.copy()
    for first in range(0, count, _WINDOW):
        last = min(first + _WINDOW, count)
        rows = order[first * size : last * size]
        batches = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, size)
        changed[first * size : last * size] = batches[drawn[first:last].argsort()].ravel()
    return changed


def holdout_keys(n: int, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each row, [n] float64, that decides what is held out."""
    return _keys(n, seed, 0, _HOLDOUT)


def stratified(
    groups: np.ndarray, share: float, keys: np.ndarray, *, divide: bool = True
) -> np.ndarray:
    """Choose a share of every group, [N] bool: its rows with the lowest keys.

    Args:
        groups: The group of each row, [N], from 0.
        share: How much of each group to choose.
        keys: A number for each row, [N], such as `holdout_keys`.
        divide: Keep a group of two or more rows in both parts, and do not choose a group of one;
            otherwise every group is chosen from, if need be whole.
    """
    counts = np.bincount(groups)
    least, most = (counts > 1, np.maximum(counts - 1, 0)) if divide else (counts > 0, counts)
    taken = np.clip(np.rint(counts * share), least, most)
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.empty(len(groups), dtype=bool)
    chosen[np.lexsort((keys, groups))] = rank < np.repeat(taken, counts)
    return chosen


@dataclass(frozen=True)
class Deal:
    """Deal the rows of an epoch to batches, and the rows of a batch to processes.

    Batch i of all processes together is rows [i * batch_size, (i + 1) * batch_size) of the order,
    however many they are; process r takes every `world_size`-th of them, beginning with the r-th.
    Of a last batch that does not divide evenly the first processes have one row more. A step takes
    `parts` batches in a row; the last one of an epoch takes those that are left.

    Args:
        n: Rows of the data set.
        batch_size: Rows of one batch over all processes, divisible by `world_size`.
        drop_last: Leave out the last step if it would have fewer rows than the others.
        rank: Number of this process.
        world_size: Number of processes.
        parts: Batches of a step.

    Raises:
        ValueError: If a batch does not divide among the processes.
    """

    n: int
    batch_size: int
    drop_last: bool
    rank: int = 0
    world_size: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.world_size:
            what = f"batch size {self.batch_size} does not divide among"
            raise ValueError(f"{what} {self.world_size} processes")

    def __len__(self) -> int:
        if self.drop_last:
            return self.n // self.step_size * self.parts
        return -(-self.n // self.batch_size)

    @property
    def step_size(self) -> int:
        """Rows of a whole step."""
        return self.batch_size * self.parts

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return self._rows_before(len(self))

    def size(self, batch: int) -> int:
        """Return the rows of one batch over all processes."""
        return self._rows_before(batch + 1) - self._rows_before(batch)

    def weight(self, batch: int) -> float:
        """Return the weight of this process's mean over its rows of a batch; 1.0 when all are even.

        The average over processes and over the batches of a step of weighted means is the mean over
        all rows of the step.
        """
        own = len(range(self.rank, self.size(batch), self.world_size))
        first = batch - batch % self.parts
        end = min(first + self.parts, len(self))
        rows = self._rows_before(end) - self._rows_before(first)
        return own * self.world_size * (end - first) / rows

    def _rows_before(self, batch: int) -> int:
        return min(self.n, batch * self.batch_size)

    def batches(self, order: np.ndarray, start: int = 0) -> list[np.ndarray]:
        """Return this process's rows of each batch from the `start`-th on, views of the order."""
        firsts = range(start * self.batch_size, len(self) * self.batch_size, self.batch_size)
        whole = (order[first : first + self.batch_size] for first in firsts)
        return [batch[self.rank :: self.world_size] for batch in whole]


def _keys(n: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    halves = uniform(seed, epoch, torch.arange(n), 0, stream, 2).double()  # [n, 2], 24 bits each
    return (halves[:, 0] + halves[:, 1] * 2**-24).numpy()
