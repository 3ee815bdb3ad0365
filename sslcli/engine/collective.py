"""The one place that talks to the other processes; with one process everything is a no-op."""

from torch import distributed


def rank() -> int:
    """Return this process's number, 0 when there is only one."""
    return distributed.get_rank() if _running() else 0


def world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _running() else 1


def _running() -> bool:
    return distributed.is_available() and distributed.is_initialized()
