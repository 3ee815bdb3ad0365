"""Run work on images in other processes, with results that do not depend on how many there are."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset

from sslcli.environment import core_count

_MOST_WORKERS = 16


class Stream:
    """Map keys to batches in worker processes.

    One key makes one batch and carries all that decides it, so neither the number of workers nor
    what they did before changes anything. Workers live on from one pass to the next.

    Args:
        dataset: Maps a key to a batch.
        workers: Processes; 0 works in this one.
        pin_memory: Put batches in pinned memory, for copies to a GPU.
    """

    ahead = 2  # batches that torch's DataLoader lets each worker have ready

    def __init__(self, dataset: Dataset, workers: int, pin_memory: bool = False) -> None:
        self._keys: list[Any] = []
        self._loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=self._keys,
            num_workers=workers,
            collate_fn=_unchanged,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # or each pass would draw from the global one
        )

    def over(self, keys: Sequence[Any]) -> Iterator[Any]:
        """Yield the batch of each key, in order; a pass that was not finished ends with this."""
        self._keys[:] = keys
        yield from self._loader


def worker_count(
    setting: int | Literal["auto"], *, shares_cores: bool, machine_share: int = 1
) -> int:
    """Return the number of workers of one process.

    Args:
        setting: A number, or "auto" for what the machine has.
        shares_cores: Whether training runs on the same cores; it then keeps half of them.
        machine_share: Processes that train on this machine.
    """
    if setting != "auto":
        return setting
    cores = core_count() // machine_share
    return max(1, min(_MOST_WORKERS, cores // 2 if shares_cores else cores - 1))


def _unchanged(batch: Any) -> Any:
    return batch
