"""Checkpoints without pickles: weights in safetensors, their description in its metadata.

`checkpoint.safetensors` holds a method's whole state dict, so the encoder's tensors begin with
"encoder."; the metadata rebuilds the model and names the preset, the data and the software.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import sslcli
from sslcli.config.older import in_todays_fields
from sslcli.config.schema import Config
from sslcli.data.text.kept import remember_of
from sslcli.environment import versions
from sslcli.errors import CheckpointError, ConfigError
from sslcli.files import to_json

SCHEMA = 1
NAME = "checkpoint.safetensors"
BEST = "best.safetensors"  # beside it, where a run keeps the best weights too


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's description; `tensors()` reads the weights themselves.

    Attributes:
        path: The file.
        config: The config of its training.
        facts: Step, epoch, data fingerprint, class names, software versions, last metrics.
        held: The weights, where they are in memory and not in the file; else None.
    """

    path: Path
    config: Config
    facts: dict[str, Any]
    held: Mapping[str, Tensor] | None = None

    @property
    def run(self) -> Path:
        """The folder that results about this checkpoint belong in."""
        return self.path.parent

    @property
    def data(self) -> dict[str, Any]:
        """Facts about the data that it was trained on."""
        found = self.facts.get("data")
        return found if isinstance(found, dict) else {}

    @property
    def paths(self) -> dict[str, Any]:
        """Paths of that data, by field; empty in checkpoints of older versions."""
        found = self.data.get("paths")
        return found if isinstance(found, dict) else {}

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Return the tensors whose names begin with `prefix`, which is removed.

        Raises:
            CheckpointError: If the file is damaged, or a value is not finite: an evaluation with it
                would still give a number, such as the accuracy of class 0.
        """
        found = self._read(prefix)
        if broken := [name for name, tensor in found.items() if not _is_finite(tensor)]:
            more = ", ..." if len(broken) > 3 else ""
            what = f"{len(broken)} of {len(found)} tensors have values that are not finite"
            hint = "training had diverged, or the file was altered; take an earlier checkpoint"
            named = f"{what} ({', '.join(broken[:3])}{more})"
            raise CheckpointError(named, str(self.path), hint)
        return {name.removeprefix(prefix): tensor for name, tensor in found.items()}

    def _read(self, prefix: str) -> dict[str, Tensor]:
        if self.held is not None:
            return {name: x for name, x in self.held.items() if name.startswith(prefix)}
        try:
            with safe_open(self.path, framework="pt") as file:
                names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
                return {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError, ValueError, MemoryError) as error:
            raise _damaged(self.path, error) from error


def save_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], config: Config, facts: Mapping[str, Any]
) -> None:
    """Write one file with tensors and their description; the caller makes it atomic."""
    described = {
        "schema": SCHEMA,
        "config": config.model_dump(mode="json"),
        "facts": {**facts, "versions": versions()},
    }
    save_file(storable(tensors), path, metadata={"sslcli": to_json(described)})


def is_bare(file: Path) -> bool:
    """Say whether a file is one of safetensors that comes without our description."""
    try:
        with safe_open(file, framework="pt") as opened:
            return "sslcli" not in (opened.metadata() or {})
    except (SafetensorError, OSError, ValueError, MemoryError):
        return False


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read the description of a checkpoint file, or of a run directory's checkpoint.

    Raises:
        CheckpointError: If it is missing, damaged, not ours, or from a newer schema.
    """
    path = Path(path)
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        hint = "name a checkpoint.safetensors or the folder of a finished or stopped run"
        raise CheckpointError("there is no checkpoint here", str(file), hint)
    if file.suffix in {".pt", ".pth", ".ckpt", ".bin", ".pkl"}:
        hint = "make a run of it: `import_weights()`"
        raise CheckpointError("these are weights of another code", str(file), hint)
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise _damaged(file, error) from error
    checkpoint = _describe(file, metadata)
    if checkpoint.config.tokenizer:  # a state lies two folders below its run
        for folder in (file.parent, file.parent.parent.parent):
            remember_of(folder)
    return checkpoint


def _describe(file: Path, metadata: Mapping[str, str]) -> Checkpoint:
    if "sslcli" not in metadata:
        hint = "make a run of them: `import_weights()`"
        raise CheckpointError("these tensors come without sslcli's description", str(file), hint)
    try:
        described = json.loads(metadata["sslcli"])
        if described["schema"] > SCHEMA:
            hint = f"this sslcli is {sslcli.__version__}; install the one that wrote it"
            raise CheckpointError("this checkpoint is from a newer sslcli", str(file), hint)
        config = Config.model_validate(in_todays_fields(described["config"]))
        return Checkpoint(file, config, dict(described["facts"]))
    except (ConfigError, ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"the checkpoint's description cannot be read: {_reason(error)}"
        hint = "the file was altered, or written by another version of sslcli"
        raise CheckpointError(what, str(file), hint) from error


def _reason(error: Exception) -> str:
    """Return the first thing wrong with a description, in a line."""
    if isinstance(error, ConfigError):
        return f"config.{error.what}"
    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}"
    first = error.errors(include_url=False)[0]
    return f"config.{'.'.join(map(str, first['loc']))}: {first['msg']}"


def storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors that share no memory, as safetensors requires."""
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        address = tensor.untyped_storage().data_ptr()
        shared = address in seen or tensor.untyped_storage().nbytes() != tensor.nbytes
        kept[name] = tensor.clone() if shared else tensor
        seen.add(address)
    return kept


def _is_finite(tensor: Tensor) -> bool:
    is_narrow = tensor.is_floating_point() and tensor.itemsize == 1  # torch does not ask those
    return bool((tensor.float() if is_narrow else tensor).isfinite().all())


def _damaged(file: Path, error: Exception) -> CheckpointError:
    hint = "copy it again, or resume the run and let it write a new one"
    return CheckpointError(f"the checkpoint cannot be read: {error}", str(file), hint)
