"""Checks of `ssl doctor`: what this machine, or the container around us, gives a training."""

import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from sslcli.cli.doctor.checkup import Finding

_GIB = 2**30
_LEAST_MEMORY, _LEAST_SHARED, _LEAST_DISK = 2 * _GIB, _GIB, _GIB
_NO_DISK = 50 * 2**20  # a run of the smallest preset writes about a tenth of this
_LEAST_FILES = 1024  # 16 workers with 2 batches each on their way hold a few hundred
_SYSTEMS = {"darwin": "macOS", "win32": "Windows"}
_ON_MPS = (
    "--device mps trains there in fp32 and one process; set PYTORCH_ENABLE_MPS_FALLBACK=1 for "
    "what it lacks. It has no float64: give ood-detect, calibrate, robust-eval and sample-sgld "
    "--device cpu"
)
_DRIVER = Path("/proc/driver/nvidia/version")


def gpu() -> Iterator[Finding]:
    """Name the CUDA devices, or why there is none."""
    import torch

    with warnings.catch_warnings(record=True) as told:  # torch warns of drivers that are too old
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if not usable:
        yield _no_gpu(torch.version.cuda, str(told[0].message) if told else "")
        return
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found = (
            f"{about.name}, {_size(about.total_memory)}, compute capability {about.major}."
            f"{about.minor}, CUDA {torch.version.cuda}, driver {_driver() or 'unknown'}"
        )
        if has_kernels((about.major, about.minor), torch.cuda.get_arch_list()):
            yield Finding(f"cuda:{index}", "ok", found)
        else:
            advice = f"torch has kernels for {', '.join(torch.cuda.get_arch_list())} only"
            yield Finding(f"cuda:{index}", "warning", found, f"{advice}: install one that fits")


def system() -> Iterator[Finding]:
    """Say on which systems this project has never run, and what is known not to work there."""
    import torch

    if sys.platform != "linux":
        found = f"{_SYSTEMS.get(sys.platform, sys.platform)}, where nobody has tried ssl yet"
        one = "train in one process" if sys.platform == "win32" else "report what breaks"
        yield Finding("system", "note", found, one)
    if torch.backends.mps.is_available():
        found = "Apple's GPU is here; --device auto leaves it alone, since nobody has tried it yet"
        yield Finding("mps", "note", found, _ON_MPS)


def has_kernels(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Tell whether torch was built for a GPU, from names such as sm_80, sm_90a, compute_90.

    Kernels run on later minor versions of their major one, PTX on everything later.
    """
    for kind, major, minor in re.findall(r"(sm|compute)_(\d+)(\d)", " ".join(built_for)):
        version = int(major), int(minor)
        if version <= capability and (kind == "compute" or version[0] == capability[0]):
            return True
    return False


def _no_gpu(built: str | None, warning: str) -> Finding:
    """Say why torch sees no CUDA device."""
    driver, hidden = _driver(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if not driver:
        return Finding("cuda", "note", "no NVIDIA driver here, so everything runs on the CPU")
    found = f"driver {driver}, but torch sees no CUDA device"
    if built is None:
        advice = "this torch was built without CUDA: install one with it, see pytorch.org"
    elif hidden is not None and hidden.strip() in ("", "-1"):
        advice = "CUDA_VISIBLE_DEVICES hides all of them: unset it"
    elif warning:
        advice = warning.splitlines()[0]
    else:
        advice = f"nvidia-smi says more; CUDA_VISIBLE_DEVICES is {hidden!r}"
    return Finding("cuda", "warning", found, advice)


def _driver() -> str:
    """Return the version of the NVIDIA driver; an empty text if there is none."""
    try:
        words = _DRIVER.read_text().split("Kernel Module")[1].split()
    except (OSError, IndexError):
        return ""
    return next((word for word in words if word[0].isdigit()), "of unknown version")


def precision() -> Iterator[Finding]:
    """Say which arithmetic `--precision auto` takes."""
    import torch

    from sslcli.engine.device import resolve_precision

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    choice = resolve_precision("auto", device)
    found = f"--precision auto is {choice.precision}: {choice.reason}"
    yield Finding("precision", "ok" if choice.precision == "bf16" else "note", found)


def cores() -> Iterator[Finding]:
    """Compare the cores this process may use with the threads torch will start."""
    import torch

    from sslcli.environment import core_count, is_busy, load_average

    own, threads = core_count(), torch.get_num_threads()
    quota = cpu_quota()
    usable = min(own, max(1, ceil(quota))) if quota else own
    setting = os.environ.get("OMP_NUM_THREADS")
    found = f"{own} of {os.cpu_count()} cores, {threads} torch threads"
    found += f", OMP_NUM_THREADS={setting}" if setting else ""
    found += f", a quota of {quota:g} cores" if quota else ""
    set_to = f"set OMP_NUM_THREADS={usable}"
    if threads > usable:
        advice = f"threads that wait for a core slow each other down: {set_to}"
        yield Finding("cores", "warning", found, advice)
    elif is_busy() and threads > 1:
        found += f", and {load_average():.0f} processes want them"
        yield Finding("cores", "warning", found, "shared cores: OMP_NUM_THREADS=1 may be faster")
    elif threads < usable and not is_busy():
        yield Finding("cores", "note", found, f"to train on the CPU with all of them {set_to}")
    else:
        yield Finding("cores", "ok", found)


def cpu_quota() -> float | None:
    """Return how many cores' worth of time the container may use; None without a limit."""
    limits = []
    for text in _cgroup("cpu", "cpu.max"):  # "200000 100000" or "max 100000"
        most, _, period = text.partition(" ")
        if most.isdigit():
            limits.append(int(most) / int(period or 100_000))
    periods = _cgroup("cpu", "cpu.cfs_period_us")
    for most, period in zip(_cgroup("cpu", "cpu.cfs_quota_us"), periods, strict=False):
        if most.isdigit():  # -1 means none
            limits.append(int(most) / int(period))
    return min(limits, default=None)


def memory() -> Iterator[Finding]:
    """Say how much memory is left for a training, limits of a container or a user included."""
    import torch

    from sslcli.profile.free import MEMINFO, free_memory, meminfo

    free = free_memory(torch.device("cpu"))
    if free is None:
        yield Finding("memory", "note", "nobody can tell how much is free here")
        return
    text = f"{_size(free.nbytes)} free {free.whose}"
    if MEMINFO.is_file():
        text += f"; this machine has {_size(meminfo()['MemTotal'])}"
    if free.nbytes < _LEAST_MEMORY:
        yield Finding("memory", "warning", text, "--fit makes a training fit into it")
    else:
        yield Finding("memory", "ok", text)


def _cgroup(controller: str, name: str) -> list[str]:
    """Return the contents of a limit's file in this process's control group and those above it."""
    from sslcli.profile.free import control_groups

    files = (group / name for group in control_groups(controller))
    return [file.read_text().strip() for file in files if file.is_file()]


def shared_memory() -> Iterator[Finding]:
    """Look at /dev/shm, through which worker processes pass batches."""
    if sys.platform != "linux":
        return
    space = shutil.disk_usage("/dev/shm")
    found = f"/dev/shm has {_size(space.free)} of {_size(space.total)} free"
    if space.free < _LEAST_SHARED:
        advice = (
            "worker processes pass batches through it: start the container with --shm-size=8g, "
            "or decode without workers: --set data.workers=0"
        )
        yield Finding("shared memory", "warning", found, advice)
    else:
        yield Finding("shared memory", "ok", found)


def open_files() -> Iterator[Finding]:
    """Look at the limit of open files, of which every batch on its way takes some."""
    if sys.platform == "win32":  # which has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _LEAST_FILES:
        yield Finding("open files", "ok", f"limit {soft}")
    else:
        most = f" (the most allowed is {hard})" if hard != resource.RLIM_INFINITY else ""
        advice = f"workers need more: ulimit -n 4096{most}"
        yield Finding("open files", "warning", f"limit {soft}", advice)


def disk() -> Iterator[Finding]:
    """Say whether runs can be written below the current folder, and temporary files anywhere."""
    folder = Path.cwd()
    free = shutil.disk_usage(folder).free
    found = f"{_size(free)} free in {folder}"
    if refusal := _refusal(folder):
        found = f"{folder} cannot be written: {refusal}"
        yield Finding("disk", "warning", found, "give runs another place: --out")
    elif free < _NO_DISK:
        yield Finding("disk", "fault", found, "free some space, or work in another folder")
    elif free < _LEAST_DISK:
        advice = "states of a large encoder take a GiB: free some space, or give --out"
        yield Finding("disk", "warning", found, advice)
    else:
        yield Finding("disk", "ok", found)
    yield Finding("temporary files", "ok", f"in {tempfile.gettempdir()}")  # or it raises


def cache() -> Iterator[Finding]:
    """Say where indexes and decoded images are kept, how large they are, and if that works."""
    from sslcli.data.sources.index import cache_folder

    folder = cache_folder()
    place = folder if os.path.lexists(folder) else _nearest(folder)
    advice = "without it every run indexes and decodes again: set SSL_CACHE to a folder of yours"
    if refusal := _refusal(place):
        yield Finding("cache", "warning", f"{folder} cannot be written: {refusal}", advice)
    elif place != folder:
        yield Finding("cache", "ok", f"{folder}, not made yet")
    else:
        files = [file for file in folder.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        free = shutil.disk_usage(folder).free
        found = f"{folder}: {len(files)} files of {_size(size)}, {_size(free)} free"
        yield Finding("cache", "ok", found)


def _nearest(folder: Path) -> Path:
    """Return the deepest part of a path that exists."""
    return next(path for path in folder.absolute().parents if os.path.lexists(path))


def _refusal(folder: Path) -> str:
    """Return why no file can be made in a folder; an empty text if one can. None is left there."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return str(error.strerror)


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= 0.1 * _GIB else f"{count / 2**20:.1f} MiB"
