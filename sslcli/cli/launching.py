"""Train in several processes: start them for `--devices`, or join those of a launcher."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from sslcli.cli.show import Show
from sslcli.environment import world
from sslcli.errors import StoppedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from sslcli.workflows.place import Place


def must_launch(devices: int) -> bool:
    """Say whether this process must start several others instead of training itself.

    Raises:
        UsageError: If another launcher has already started processes.
    """
    here = world()
    if devices > 1 and here.launcher in ("torchrun", "slurm"):
        what = f"{here.launcher} has already started {here.size} processes"
        raise UsageError(what, "--devices", "leave it out")
    return devices > 1 and here.launcher == "none"


def launch(
    run: "Path", place: "Place", devices: int, device: str, restarts: int, show: Show
) -> NoReturn:
    """Run this command line again in several processes, and exit as they do.

    Args:
        run: The run directory.
        place: Whether the command line names it.
        devices: Number of processes.
        device: The value of `--device`.
        restarts: How often to start again after a process was killed.
        show: The command's streams.
    """
    from sslcli.distributed.launch import Launcher, check_devices
    from sslcli.engine.device import pick_device
    from sslcli.engine.run_directory import CONFIG

    check_devices(devices, pick_device(device))
    words = [*sys.argv[1:], *([] if place.out else [f"--out={run}"])]

    def again() -> list[str]:
        if not (run / CONFIG).is_file():
            return words
        return [*(word for word in words if word != "--overwrite"), "--resume"]

    sys.exit(Launcher(devices, restarts, show.warn).run(words, again))


def resume_line(out: str | None) -> "Callable[[str], str]":
    """Return a function that writes the command line which resumes a run.

    Args:
        out: The run directory, if the command line names it.
    """

    def line(run: str) -> str:
        words = [
            each for each in sys.argv[1:] if each not in ("--debug", "--resume", "--overwrite")
        ]
        added = ["--resume"] if out else ["--resume", f"--out={run}"]
        return shlex.join(["ssl", *words[:1], *added, *words[1:]])

    return line


@contextmanager
def taking_part(device: str) -> "Iterator[torch.device]":
    """Join the other processes of the launcher while the context lasts; yield the device.

    If Ctrl-C ends the training with its state saved, the fault that says so is raised.
    """
    from sslcli.workflows import training

    with training.taking_part(device, lambda text: print(text, file=sys.stderr, flush=True)) as it:
        try:
            yield it
        except KeyboardInterrupt as interrupt:
            if isinstance(interrupt.__cause__, StoppedError):
                raise interrupt.__cause__ from None
            raise


def beside(ckpt: str, name: str) -> "Path":
    """Return the path of a folder beside a checkpoint file, or in a run directory."""
    from pathlib import Path

    path = Path(ckpt)
    return (path if path.is_dir() else path.parent) / name
