"""Start the processes of a training, join them, and let the first fault of any end them all."""

import ctypes
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch
from torch import distributed
from torch.distributed import DistError, PrefixStore, Store
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sslcli.distributed import collective
from sslcli.distributed.meeting import meet
from sslcli.environment import EXIT_FILE, World, core_count, slurm_address
from sslcli.errors import ExitCode, ResourceError, UsageError

_PATIENCE = timedelta(minutes=30)  # for the slowest process to reach a common point
_GRACE_SECONDS = 60  # for a state to be saved before a process is killed
_TELLING_SECONDS = 10.0
_PARENT_DIED = 1  # PR_SET_PDEATHSIG of prctl.h
_ASKED_FOR = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
_store: list[Store] = []
_count = count()


def local_device(device: torch.device, world: World) -> torch.device:
    """Return the device of one process among several.

    Raises:
        UsageError: If one CUDA device is asked for by number.
    """
    if world.size == 1 or device.type != "cuda":
        return device
    if device.index is not None:
        hint = "use `device` cuda, and CUDA_VISIBLE_DEVICES to choose among them"
        raise UsageError(f"{world.size} processes cannot share {device}", "device", hint)
    return torch.device("cuda", world.local_rank % torch.cuda.device_count())


@contextmanager
def joined(
    world: World, device: torch.device, say: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Train together with the other processes of `world` within this context.

    The backend is nccl on CUDA and gloo on the CPU. After a fault the group is not closed: closing
    waits for the others, which may be gone.

    Args:
        world: This process among the others.
        device: Where it trains.
        say: Called with the processes that are awaited, when they take long.
    """
    if world.size == 1:
        yield
        return
    if world.launcher == "slurm":
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = slurm_address()
    if world.launcher == "devices":
        _die_with_parent()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, core_count() // world.local_size))
    store = PrefixStore(
        f"{next(_count)}", meet(world, _PATIENCE, say)
    )  # one program may train often
    _store[:] = [PrefixStore("sslcli", store)]
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore("group", store),
        rank=world.rank,
        world_size=world.size,
        timeout=_PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )
    collective.open_host_group(device, world.local_size)
    yield
    distributed.destroy_process_group()
    _store.clear()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the launcher is killed, so that none is left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
        if os.environ.get("TORCHELASTIC_RUN_ID") != _run_id(os.getppid()):  # it died before
            os.kill(os.getpid(), signal.SIGKILL)


def _run_id(launcher: int) -> str:
    """Return how torch names the run of a launcher, by its process number."""
    return f"sslcli-{launcher}"


def claim_fault(code: int, patience: float = 0.0) -> tuple[bool, int]:
    """Return whether this is the first fault of the training, and the first one's exit code.

    The process with the first fault prints it and calls `fault_told`. The others wait here until
    then, because the launcher ends all processes as soon as one has left. Before processes have
    joined they cannot agree on the first fault; the process of rank 0 then prints its own.

    Args:
        code: Exit code of this process's fault.
        patience: Seconds to wait for the others: for the fault that caused this one, or for rank 0
            when all processes meet the same fault.
    """
    if not _store:
        time.sleep(patience)  # or the launcher would end the first process before it has spoken
        return not patience, code
    own, store = f"{collective.rank()} {code}", _store[0]
    try:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not store.check(["fault"]):
            time.sleep(0.05)
        first = store.compare_set("fault", "", own).decode()
        deadline = time.monotonic() + _TELLING_SECONDS
        while first != own and time.monotonic() < deadline and not store.check(["told"]):
            time.sleep(0.05)
    except DistError:  # the process that served the store has gone, and has told why
        return False, code
    return first == own, int(first.split()[1])


def fault_told() -> None:
    """Release the processes that wait in `claim_fault`."""
    with suppress(DistError):
        if _store:
            _store[0].set("told", "yes")


def report_exit(code: int) -> None:
    """Tell the launcher the exit code of this training; the first one told counts."""
    file = os.environ.get(EXIT_FILE)
    if file and not Path(file).stat().st_size:
        Path(file).write_text(str(int(code)), encoding="utf-8")


class Launcher:
    """Run a command in several processes on this machine under torch's elastic launcher.

    When a process is killed or crashes, all start again and resume from the last state. Faults that
    would recur (wrong use, data, memory, an unhealthy loss) end the training.

    Args:
        processes: How many.
        max_restarts: How often to start again.
        on_restart: Called with what happened, before each restart.
    """

    def __init__(
        self, processes: int, max_restarts: int, on_restart: Callable[[str], None]
    ) -> None:
        self._processes, self._max_restarts = processes, max_restarts
        self._on_restart = on_restart
        self._interrupted = False

    def run(self, first: Sequence[str], again: Callable[[], Sequence[str]]) -> int:
        """Run until done, and return the exit code.

        Args:
            first: Arguments of `python -m sslcli`.
            again: Returns the arguments that resume what `first` began.
        """
        words, restarts = first, 0
        previous = signal.signal(signal.SIGINT, self._interrupt)
        _silence("torch.distributed")  # the workers print their own fault
        try:
            while True:
                code, death = self._once(words)
                if not death or restarts == self._max_restarts:
                    return code
                restarts += 1
                self._on_restart(f"{death}; restart {restarts} of {self._max_restarts}")
                words = again()
        finally:
            signal.signal(signal.SIGINT, previous)

    def _once(self, words: Sequence[str]) -> tuple[int, str]:
        """Return the exit code, and the cause of death if another try may help."""
        with tempfile.NamedTemporaryFile(prefix="sslcli-exit-") as file:
            os.environ[EXIT_FILE] = file.name
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
            try:
                elastic_launch(self._config(), sys.executable)("-m", "sslcli", *words)
            except SignalException as stopped:
                return _told(file.name, 128 + stopped.sigval), ""
            except ChildFailedError as error:
                return _told(file.name, ExitCode.RESOURCES), _death(error, file.name)
            finally:
                os.environ.pop(EXIT_FILE, None)
        return ExitCode.DONE, ""

    def _config(self) -> LaunchConfig:
        return LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=self._processes,
            run_id=_run_id(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,  # `run` restarts, since it knows which faults would recur
            signals_to_handle="SIGTERM,SIGHUP,SIGQUIT,SIGUSR1",
            shutdown_timeout=_GRACE_SECONDS,
        )

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Pass the first Ctrl-C on, so that the state is saved; end everything at the second."""
        if self._interrupted:
            os._exit(ExitCode.INTERRUPTED)
        self._interrupted = True
        raise SignalException("Ctrl-C", sigval=signal.SIGINT)


def _silence(package: str) -> None:
    """Keep a package's loggers, which torch sets up one by one, from printing."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(package):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _told(file: str, otherwise: int) -> int:
    """Return the exit code that a process has reported, if any has."""
    told = Path(file).read_text("utf-8")
    return int(told) if told else otherwise


def _death(error: ChildFailedError, file: str) -> str:
    """Describe a death that may not recur; empty for a fault that would."""
    for rank, failure in sorted(error.failures.items()):
        name = signal.Signals(-failure.exitcode).name if failure.exitcode < 0 else ""
        if name and name not in _ASKED_FOR:
            return f"process {rank} was killed by {name}"
    if _told(file, ExitCode.OUR_FAULT) == ExitCode.OUR_FAULT:
        return "a process crashed"
    return ""


def check_devices(processes: int, device: torch.device) -> None:
    """Check that this machine can train in so many processes.

    Raises:
        UsageError: If it is one that several processes have never been tried on.
        ResourceError: If it has fewer CUDA devices.
    """
    if processes > 1 and sys.platform == "win32":
        hint = "train in one process, or in WSL 2, which is Linux"
        raise UsageError("several processes are not supported on Windows", "devices", hint)
    if processes > 1 and device.type == "mps":
        hint = "leave it out, or use `device` cpu"
        raise UsageError(f"{processes} processes cannot share {device}", "devices", hint)
    if device.type == "cuda" and processes > (count := torch.cuda.device_count()):
        what = f"{processes} processes need as many CUDA devices; torch sees {count}"
        raise ResourceError(what, "devices", "use fewer, or `device` cpu")


def leave(code: int) -> NoReturn:
    """End this process at once, whatever its threads wait for; its streams are flushed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
