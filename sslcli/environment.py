"""Read the rank, the number of processes and the cores from the environment, without torch."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from sslcli import __version__
from sslcli.errors import UsageError

EXIT_FILE = "SSLCLI_EXIT_FILE"  # set by `distributed.launch`: where a process says how it ended
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_SLURM = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_JOB_ID")


@dataclass(frozen=True)
class World:
    """The processes that train together, as one of them sees them.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        local_rank: Number of this process on its machine, from 0.
        local_size: Number of processes on this machine.
        restarts: How often the launcher has started them anew.
        launcher: Who started them; "none" for a process of its own.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0
    launcher: Literal["none", "devices", "torchrun", "slurm"] = "none"


def world(environment: Mapping[str, str] = os.environ) -> World:
    """Return the world that torchrun, `srun` or `--devices` has made.

    SLURM counts only inside a step of several tasks: the batch script itself is one process.

    Raises:
        UsageError: If the launcher's variables are incomplete or no numbers.
    """
    try:
        if "RANK" in environment or "LOCAL_RANK" in environment:
            return _torchrun(environment)
        if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
            return _slurm(environment)
    except ValueError as error:
        where = ", ".join(name for name in (*_TORCHRUN, *_SLURM) if name in environment)
        raise UsageError(f"the launcher's variables make no sense: {error}", where) from error
    return World()


def has_ended(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a process of this training has told the launcher that it is over."""
    file = environment.get(EXIT_FILE)
    return file is not None and os.path.exists(file) and os.path.getsize(file) > 0


def _torchrun(environment: Mapping[str, str]) -> World:
    if missing := [name for name in _TORCHRUN if name not in environment]:
        hint = "start with torchrun, or unset RANK and LOCAL_RANK"
        raise UsageError("the launcher's variables are incomplete", ", ".join(missing), hint)
    return World(
        rank=int(environment["RANK"]),
        size=int(environment["WORLD_SIZE"]),
        local_rank=int(environment["LOCAL_RANK"]),
        local_size=int(environment.get("LOCAL_WORLD_SIZE", environment["WORLD_SIZE"])),
        restarts=int(environment.get("TORCHELASTIC_RESTART_COUNT", 0)),
        launcher="devices" if EXIT_FILE in environment else "torchrun",
    )


def _slurm(environment: Mapping[str, str]) -> World:
    if missing := [name for name in _SLURM if name not in environment]:
        hint = "start with srun, inside a job"
        raise UsageError("SLURM's variables are incomplete", ", ".join(missing), hint)
    counts = task_counts(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    node = int(environment["SLURM_NODEID"])
    return World(
        rank=int(environment["SLURM_PROCID"]),
        size=int(environment["SLURM_STEP_NUM_TASKS"]),
        local_rank=int(environment["SLURM_LOCALID"]),
        local_size=counts[node] if node < len(counts) else 1,
        restarts=int(environment.get("SLURM_RESTART_COUNT", 0)),
        launcher="slurm",
    )


def slurm_address(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the host and the port at which the processes of a SLURM step meet."""
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    port = 20_000 + int(environment["SLURM_JOB_ID"]) % 20_000
    return first_host(nodes), str(port)


def first_host(nodes: str) -> str:
    """Return the first host of SLURM's short form, such as gpu[03-05,9],login1."""
    if not (match := re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,\[]*))?", nodes)) or not match[0]:
        raise ValueError(f"no host in {nodes!r}")
    return "".join(part or "" for part in match.groups())


def task_counts(text: str) -> list[int]:
    """Return the tasks of each node from SLURM's short form, such as 4(x2),1."""
    counts: list[int] = []
    for tasks, repeats in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(tasks)] * int(repeats or 1)
    return counts


def core_count() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float:
    """Return how many processes have wanted a core in the last minute; 0 where nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # not on Windows


def is_busy() -> bool:
    """Return whether more processes want a core than there are."""
    return load_average() > (os.cpu_count() or 1)


def versions() -> dict[str, str]:
    """Return the versions of what decides a number; torch's build is known once it is imported."""
    torch = sys.modules.get("torch")
    return {
        "sslcli": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__) if torch else metadata.version("torch"),
    }
