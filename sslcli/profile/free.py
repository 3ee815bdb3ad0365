"""Read how much memory a training may take: what is free, and what containers and limits leave."""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from sslcli.errors import UsageError

VARIABLE = "SSL_MEMORY_GIB"
MEMINFO, STATM = Path("/proc/meminfo"), Path("/proc/self/statm")
OWN_GROUPS, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60  # cgroup v1 writes about 2^63 for none


@dataclass(frozen=True)
class Free:
    """Memory that is left.

    Attributes:
        nbytes: Bytes.
        whose: Where they are left, in words.
    """

    nbytes: int
    whose: str


def free_memory(device: torch.device) -> Free | None:
    """Return the memory that is left on a device; None if that cannot be known.

    Of a CPU that is the least of what this machine, a container and the limits of a process leave.
    SSL_MEMORY_GIB, where it is set, is the most that counts.

    Raises:
        UsageError: If that is no positive number.
    """
    found = [_asked(os.environ)] if VARIABLE in os.environ else []
    if device.type == "cuda":
        found.append(Free(torch.cuda.mem_get_info(device)[0], f"on {device}"))
    else:
        found += _of_host()
    return min(found, key=lambda free: free.nbytes, default=None)


def _asked(environment: Mapping[str, str]) -> Free:
    text = environment[VARIABLE]
    try:
        nbytes = int(float(text) * 2**30)
    except (ValueError, OverflowError):
        nbytes = 0
    if nbytes <= 0:
        raise UsageError(f"{text!r} is no number of GiB", VARIABLE, "such as 16, or unset it")
    return Free(nbytes, f"as {VARIABLE} says")


def _of_host() -> Iterator[Free]:
    if MEMINFO.is_file():
        yield Free(meminfo()["MemAvailable"], "on this machine")
        yield from _of_groups()
        yield from _of_process() if sys.platform != "win32" else ()
    elif sys.platform == "win32":
        yield Free(_of_windows(), "on this machine")
    elif "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # macOS tells no more without tools
        nbytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Free(nbytes, "in this machine, used or not")


def meminfo() -> dict[str, int]:
    """Return what Linux tells of its memory, in bytes."""
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    return {name.rstrip(":"): int(number) * 1024 for name, number, *_ in lines}


def _of_groups() -> Iterator[Free]:
    """Yield what the limits of this process's control group and of those above it leave.

    Pages of files that were not used lately do not count as used: they are given up first.
    """
    kinds = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for limit, usage, idle in kinds:
        for group in control_groups("memory"):
            if (group / limit).is_file() and (group / usage).is_file():
                most = (group / limit).read_text().strip()
                if most.isdigit() and int(most) < _NO_LIMIT:
                    used = int((group / usage).read_text()) - _stat(group, idle)
                    yield Free(max(0, int(most) - used), "within this container's limit")


def _stat(group: Path, name: str) -> int:
    file = group / "memory.stat"
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)


def control_groups(controller: str) -> list[Path]:
    """Return the folders of this process's control group and of those above it, in v1 and v2."""
    if not OWN_GROUPS.is_file():  # macOS has no such limits
        return []
    found: list[Path] = []
    for line in OWN_GROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = CGROUPS / controller if controllers else CGROUPS
        own = top / path.lstrip("/")
        found += [group for group in (own, *own.parents) if group.is_relative_to(top)]
    return found


def _of_process() -> Iterator[Free]:
    """Yield what `ulimit -v` leaves."""
    import resource  # noqa: PLC0415  Windows has none

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        used = int(STATM.read_text().split()[0]) * resource.getpagesize()
        yield Free(max(0, most - used), "within this process's limit (ulimit -v)")


class _Status(ctypes.Structure):
    """MEMORYSTATUSEX of sysinfoapi.h."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "free", "total_page", "free_page")),
        *((name, ctypes.c_uint64) for name in ("total_virtual", "free_virtual", "extended")),
    ]


def _of_windows() -> int:
    status = _Status(length=ctypes.sizeof(_Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.free)
