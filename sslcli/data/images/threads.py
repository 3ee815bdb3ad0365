"""Share pieces of tensor work among threads that meet only at the end.

Torch's own threads meet after every operation, so each small one costs a barrier, and a core that
another process holds delays them all. Threads with whole pieces also keep to their own caches.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import ceil
from threading import Barrier

import torch

_LEAST_VALUES, _MOST_VALUES = 1 << 18, 1 << 21  # a piece outweighs its calls, and fits caches


def share(work: Callable[[slice], None], pieces: Sequence[slice]) -> None:
    """Do `work` without gradients on each piece, on as many threads as torch has here."""
    work = torch.no_grad()(work)
    threads = torch.get_num_threads()
    if threads == 1 or len(pieces) == 1:
        for piece in pieces:
            work(piece)
    else:
        list(_pool(threads, os.getpid()).map(work, pieces))


def cut_evenly(samples: int, values: int) -> list[slice]:
    """Cut samples of so many values each into pieces that keep all threads busy alike."""
    least, most = max(1, _LEAST_VALUES // values), max(1, _MOST_VALUES // values)
    threads = torch.get_num_threads()
    rounds = ceil(samples / (most * threads))
    length = max(least, ceil(samples / (rounds * threads)))
    return [slice(start, start + length) for start in range(0, samples, length)]


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of a process (a fork needs its own), each with one of torch's.

    Torch keeps its number per thread, but what is set last is where other threads start. So all
    start now, and the caller's number is set again.
    """
    pool = ThreadPoolExecutor(threads, "views", _use_one_thread)
    started = Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(threads)
    return pool


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread's first query takes what was set last, so ask now
