"""Sum small vectors over the processes of one machine through memory that they share.

Synchronised BatchNorm sends dozens of tiny messages a step. With a socket both sides sleep for each
message, and waking up costs more than the message. Here they poll each other's counters instead.
Only x86 keeps the order of two stores that this relies on, so other machines use the sockets.
"""

import mmap
import os
import platform
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sslcli.errors import PeerError
from sslcli.files import is_alive

CAPACITY = 1 << 14  # numbers of one message; BatchNorm sends two a channel and one more
_LINE = 8  # numbers of a cache line, so that no two counters share one
_EAGER_SECONDS, _NAP_SECONDS = 0.02, 0.0005


class Exchange:
    """Shared memory of all processes of a training on one machine.

    Every process calls `total` equally often. Messages alternate between two places. A place is
    written again only when all processes have counted the next message, and have thus read this
    one.

    Args:
        rank: Number of this process.
        size: Number of processes.
        from_main: Returns the first process's value on all of them.
        wait: Waits until every process is here.
    """

    def __init__(
        self, rank: int, size: int, from_main: Callable[[str], str], wait: Callable[[], None]
    ) -> None:
        self._rank, self._count = rank, 0
        numbers = size * (2 * _LINE + 2 * CAPACITY)
        with tempfile.NamedTemporaryFile(prefix="sslcli-", dir=_memory_folder()) as file:
            file.truncate(8 * numbers)
            path = from_main(file.name)
            with open(path, "r+b") as shared:
                memory = np.frombuffer(mmap.mmap(shared.fileno(), 8 * numbers), np.int64)
            wait()  # the file's name may go once all have it open
        heads, places = memory[: 2 * size * _LINE], memory[2 * size * _LINE :]
        self._counts, self._pids = heads.reshape(2, size, _LINE)[:, :, 0]
        self._places = places.view(np.float64).reshape(2, size, CAPACITY)
        self._pids[rank] = os.getpid()
        wait()

    def total(self, local: Tensor) -> Tensor:
        """Return the sum over processes of a float64 vector in host memory, the same bits on all.

        Raises:
            PeerError: If a process has gone.
        """
        self._count += 1
        places = self._places[self._count % 2, :, : local.numel()]
        places[self._rank] = local.numpy()
        self._counts[self._rank] = self._count
        self._wait()
        return torch.from_numpy(places.sum(axis=0))

    def _wait(self) -> None:
        """Wait until all have written; after a while yield the core to processes that need it."""
        started = time.monotonic()
        while self._counts.min() < self._count:
            if time.monotonic() - started < _EAGER_SECONDS:
                os.sched_yield()
                continue
            time.sleep(_NAP_SECONDS)
            for number, pid in enumerate(self._pids.tolist()):
                if not is_alive(pid) and self._counts[number] < self._count:
                    raise PeerError(f"process {number} of this training has gone")


def suits(device: torch.device, size: int, local_size: int) -> bool:
    """Tell whether processes can share memory: all on the CPU of one x86 machine with Linux."""
    is_one_machine = size == local_size > 1
    is_ordered = platform.machine() in ("x86_64", "AMD64") and platform.system() == "Linux"
    return device.type == "cpu" and is_one_machine and is_ordered


def _memory_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
