"""Everything a run needs to go on as if it had never stopped.

A state is one folder, `state/step-00000500/`, filled under a temporary name and renamed when all of
it is on the disk, so a run killed at any instant finds its last complete state untouched:

    model.safetensors     the method; checkpoint.safetensors is a hard link to it
    optimizer.safetensors the optimiser's tensors
    rank-0.safetensors    what differs per process: random state and the method's local state
    state.json            step, scalars and the checksum of each file above; written last
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslcli.engine.checkpoint import NAME, storable
from sslcli.engine.files import flush, sha256, share, storage_fault, to_json, write_atomically
from sslcli.errors import CheckpointError

_DESCRIPTION = "state.json"


@dataclass(frozen=True)
class State:
    """A complete, verified state on the disk."""

    folder: Path
    step: int
    scalars: dict[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one of the state's files."""
        return load_file(self.folder / f"{name}.safetensors")


def save_state(
    run: Path,
    step: int,
    write_model: Any,
    files: Mapping[str, Mapping[str, Tensor]],
    scalars: Mapping[str, Any],
    keep: int,
) -> None:
    """Write the state of `step`, point checkpoint.safetensors at its model, drop old states.

    Args:
        run: The run directory.
        step: Optimiser steps done.
        write_model: Called with the path to write the method's checkpoint to.
        files: Tensors by file name, without the ending.
        scalars: What JSON can hold: optimiser groups, scaler, loss history.
        keep: Number of states to keep, this one included.
    """
    folder = run / "state" / f"step-{step:08d}"
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        write_model(partial / "model.safetensors")
        for name, tensors in files.items():
            save_file(storable(tensors), partial / f"{name}.safetensors")
        sums = {file.name: sha256(file) for file in sorted(partial.iterdir())}
        description = {"step": step, "sha256": sums, "scalars": dict(scalars)}
        (partial / _DESCRIPTION).write_text(to_json(description), encoding="utf-8")
        for file in partial.iterdir():
            share(file)
            flush(file)
        flush(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        flush(folder.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise storage_fault(_os_error(error), folder) from error
    point_checkpoint(run, folder)
    for old in sorted(_folders(run))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def _os_error(error: OSError | SafetensorError) -> OSError:
    """Return the system's error; safetensors has its number only in the text."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))


def point_checkpoint(run: Path, folder: Path) -> None:
    """Make checkpoint.safetensors the model of the state in `folder`."""
    write_atomically(run / NAME, lambda path: _link(folder / "model.safetensors", path))


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
    for folder in sorted(_folders(run), reverse=True):
        fault = _fault(folder)
        if not fault:
            described = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
            return State(folder, described["step"], described["scalars"]), complaints
        complaints.append(f"{folder.name} is damaged ({fault}); using the one before")
    what = complaints[0] if complaints else "there is no state to resume from"
    hint = "leave out --resume to start afresh, with --overwrite or another --out"
    raise CheckpointError(what, str(run / "state"), hint)


def has_state(run: Path) -> bool:
    """Return whether the run has saved anything to resume from."""
    return any(_folders(run))


def _folders(run: Path) -> list[Path]:
    return list((run / "state").glob("step-*"))


def _fault(folder: Path) -> str:
    """Return what is wrong with a state, or nothing."""
    try:
        described = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
        for name, expected in described["sha256"].items():
            if sha256(folder / name) != expected:
                return f"{name} does not match its checksum"
        if not isinstance(described["step"], int) or not isinstance(described["scalars"], dict):
            return f"{_DESCRIPTION} lacks its fields"
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return str(error) or type(error).__name__
    return ""


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state dict into tensors and what JSON can hold."""
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
    """Return torch's random state on the CPU and on the current CUDA device."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Tensor]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
