"""Bring the processes of a training together, and say who is awaited when that takes long."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import rendezvous

from sslcli.environment import World
from sslcli.errors import ResourceError

Say = Callable[[str], None]
_SILENT_SECONDS = 5.0  # starting torch on a busy machine takes that long
_POLL_SECONDS = 0.05


def meet(world: World, patience: timedelta, say: Say) -> Store:
    """Return the store of all processes once every process has joined it.

    Args:
        world: This process among the others; the address is in MASTER_ADDR and MASTER_PORT.
        patience: Longest wait, in seconds.
        say: Called with the processes that are awaited, after some seconds and then ever more
            rarely.

    Raises:
        ResourceError: If a process does not join.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun started all processes, and itself says which one is missing
        agents: Store = next(rendezvous("env://", world.rank, world.size, timeout=patience))[0]
        return agents
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    place = f"{host}:{port}"
    with _saying(world, f"waiting for process 0 of {world.size} at {place}", say):
        store = TCPStore(
            host, port, world.size, is_master=world.rank == 0, timeout=patience,
            wait_for_workers=False, multi_tenant=True,
        )  # fmt: skip
    arrivals = PrefixStore("here", store)
    arrivals.set(str(world.rank), "yes")
    if world.rank == 0:
        _await_all(world.size, arrivals, place, patience, say)
    return store


def _await_all(size: int, arrivals: Store, place: str, patience: timedelta, say: Say) -> None:
    started, silent, missing = time.monotonic(), _SILENT_SECONDS, list(range(size))
    while missing := [rank for rank in missing if not arrivals.check([str(rank)])]:
        waited = time.monotonic() - started
        if waited > patience.total_seconds():
            hint = "start the command in every one of them, as srun and torchrun do"
            what = f"processes {ranges(missing)} of {size} have not come"
            raise ResourceError(what, place, hint)
        if waited > silent:
            silent *= 4
            say(f"waiting at {place} for processes {ranges(missing)} of {size}")
        time.sleep(_POLL_SECONDS)


@contextmanager
def _saying(world: World, text: str, say: Say) -> Iterator[None]:
    """Say a text if the context lasts long: on one process a machine, and on the second of all."""
    if world.rank == 0 or not (world.local_rank == 0 or world.rank == 1):
        yield
        return
    done = threading.Event()

    def watch() -> None:
        silent = _SILENT_SECONDS
        while not done.wait(silent):
            silent *= 4
            say(text)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers in short, such as 1, 4-7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
