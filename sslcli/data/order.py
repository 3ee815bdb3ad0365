"""The order in which samples are seen: a function of (seed, epoch) and of nothing else."""

import numpy as np
import torch

from sslcli.data.counter import uniform

_ORDER, _HOLDOUT = 101, 102  # streams of the counter-based generator that no view draws from


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of n rows, [n] int64, the same wherever it is computed."""
    return np.argsort(_keys(n, seed, epoch, _ORDER), kind="stable")


def holdout_keys(n: int, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each row, [n] float64, that decides what is held out."""
    return _keys(n, seed, 0, _HOLDOUT)


def epoch_batches(
    order: np.ndarray, batch_size: int, *, drop_last: bool, rank: int = 0, world_size: int = 1
) -> list[np.ndarray]:
    """Cut an order into the batches of one process.

    Batch i of all processes together is rows [i * batch_size, (i + 1) * batch_size) of the order,
    however many they are; process r takes every `world_size`-th of them, beginning with the r-th.
    A last batch that does not divide evenly is cut, so that all processes have equally many.

    Args:
        order: Rows of the epoch, [N] int64.
        batch_size: Rows of one batch over all processes, divisible by `world_size`.
        drop_last: Leave out the last, smaller batch.
        rank: Number of this process.
        world_size: Number of processes.
    """
    if batch_size % world_size:
        raise ValueError(f"batch size {batch_size} does not divide among {world_size} processes")
    end = len(order) - len(order) % (batch_size if drop_last else world_size)
    starts = range(0, end, batch_size)
    return [order[start : min(start + batch_size, end)][rank::world_size] for start in starts]


def _keys(n: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    halves = uniform(seed, epoch, torch.arange(n), 0, stream, 2).double()  # [n, 2], 24 bits each
    return (halves[:, 0] + halves[:, 1] * 2**-24).numpy()
