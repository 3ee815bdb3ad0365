"""States: everything that a run needs to go on as if it had never stopped.

A state is one folder, `state/step-00000500/`, filled under a temporary name and renamed when all of
it is on the disk, so a run killed at any instant finds its last complete state untouched:

    model.safetensors     the method; checkpoint.safetensors is a hard link to it
    optimizer.safetensors the optimiser's tensors
    rank-0.safetensors    what differs per process: random state and the method's local state;
                          one file a process, each written by its own
    state.json            step, scalars and the checksum of each file above; written last

Only the holder of the run's lock saves, so an older temporary folder is that of a dead process.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslcli.distributed.collective import is_main, rank, together, world_size
from sslcli.engine.checkpoint import NAME, storable
from sslcli.errors import CheckpointError
from sslcli.files import flush, sha256, share, storage_fault, to_json, write_atomically

_DESCRIPTION = "state.json"


@dataclass(frozen=True)
class State:
    """A complete, verified state on the disk."""

    folder: Path
    step: int
    scalars: dict[str, Any]
    processes: int = 1

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one of the state's files."""
        file = self.folder / f"{name}.safetensors"
        try:
            return load_file(file)
        except (SafetensorError, OSError, ValueError, MemoryError) as error:
            hint = f"remove {self.folder} to go on from the state before"
            raise CheckpointError(f"the state cannot be read: {error}", str(file), hint) from error


def save_state(
    run: Path,
    step: int,
    write_model: Callable[[Path], None],
    shared: Mapping[str, Mapping[str, Tensor]],
    local: Mapping[str, Tensor],
    scalars: Mapping[str, Any],
    keep: int,
) -> None:
    """Write the state of `step`, point checkpoint.safetensors at its model, drop old states.

    Every process calls it. The state is whole only when all have written their part; when one
    cannot, all raise and nothing is left of it.

    Args:
        run: The run directory, which all processes see.
        step: Optimiser steps done.
        write_model: Called on the first process with the path to write the checkpoint to.
        shared: Tensors that are the same on all processes, by file name without the ending.
        local: This process's own tensors.
        scalars: JSON values: optimiser groups, scaler, metrics.
        keep: Number of states to keep, this one included.

    Raises:
        ResourceError: If the disk is full, read-only or gone; the states before are intact.
    """
    folder = state_folder(run, step)
    partial = folder.with_name(f".{folder.name}.tmp")

    def fill() -> None:
        written = [partial / f"rank-{rank()}.safetensors"]
        save_file(storable(local), written[0])
        if is_main():
            for name, tensors in shared.items():
                written.append(partial / f"{name}.safetensors")
                save_file(storable(tensors), written[-1])
            written.append(partial / "model.safetensors")
            write_model(written[-1])
        for file in written:
            share(file)
            flush(file)

    def finish() -> None:
        sums = {file.name: sha256(file) for file in sorted(partial.iterdir())}
        described = {"step": step, "processes": world_size(), "sha256": sums, "scalars": scalars}
        (partial / _DESCRIPTION).write_text(to_json(described), encoding="utf-8")
        flush(partial / _DESCRIPTION)
        flush(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        flush(folder.parent)

    try:
        together(lambda: _empty(partial) if is_main() else None)
        together(fill)
        together(lambda: finish() if is_main() else None)
    except (OSError, SafetensorError) as error:
        raise storage_fault(_os_error(error), folder) from error
    finally:
        if is_main():
            shutil.rmtree(partial, ignore_errors=True)
    if is_main():
        point_checkpoint(run, folder)
        drop_old(run, folder, keep)


def state_folder(run: Path, step: int) -> Path:
    """Return where the state of a step lies."""
    return run / "state" / f"step-{step:08d}"


def drop_old(run: Path, newest: Path, keep: int) -> None:
    """Remove the oldest states up to `newest`, of which so many stay."""
    for old in [folder for folder in saved_states(run) if folder <= newest][:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def _empty(folder: Path) -> None:
    """Make an empty folder, and clear away what killed processes left beside it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(".step-*.tmp"):
        shutil.rmtree(left)
    folder.mkdir()


def _os_error(error: OSError | SafetensorError) -> OSError:
    """Return the system's error; safetensors has its number only in the text."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))


def point_checkpoint(run: Path, folder: Path, name: str = NAME) -> None:
    """Make checkpoint.safetensors, or another name, the model of the state in `folder`."""
    write_atomically(run / name, lambda path: _link(folder / "model.safetensors", path))


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`; copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def newest_state(run: Path) -> tuple[State, list[str]]:
    """Return the newest state that is whole, and a line for each newer one that is not.

    Raises:
        CheckpointError: If no state is whole.
    """
    complaints: list[str] = []
    for folder in reversed(saved_states(run)):
        fault = _fault(folder)
        if not fault:
            described = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
            processes = int(described.get("processes", 1))
            return State(folder, described["step"], described["scalars"], processes), complaints
        complaints.append(f"{folder.name} is damaged ({fault}); using the one before")
    what = complaints[0] if complaints else "there is no state to resume from"
    hint = "leave out `resume` to start afresh, with `overwrite` or another `out`"
    raise CheckpointError(what, str(run / "state"), hint)


def has_state(run: Path) -> bool:
    """Return whether the run has saved anything to resume from."""
    return bool(saved_states(run))


def saved_states(run: Path) -> list[Path]:
    """Return the folders of a run's states, the oldest first."""
    return sorted((run / "state").glob("step-*"))


def _fault(folder: Path) -> str:
    """Return the fault of a state; empty if it is whole."""
    try:
        described = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
        for name, expected in described["sha256"].items():
            if Path(name).name != name or not (folder / name).is_file():
                return f"{name} is not one of its files"
            if sha256(folder / name) != expected:
                return f"{name} does not match its checksum"
        numbers = described["step"], described.get("processes", 1)
        if not all(isinstance(n, int) for n in numbers) or not isinstance(
            described["scalars"], dict
        ):
            return f"{_DESCRIPTION} lacks its fields"
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        return str(error) or type(error).__name__
    return ""


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state dict into tensors and JSON values."""
    described = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for index, entries in described["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                plain[f"{index}.{name}"] = value
    return tensors, {"groups": described["param_groups"], "plain": plain}


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> None:
    """Load what `pack_optimizer` made."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *scalars["plain"].items()):
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": scalars["groups"]})


def random_state() -> dict[str, Tensor]:
    """Return torch's random state on the CPU and on the accelerator, by the name of its type."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Tensor]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])
