"""Read the tensors of a file that another code has saved; pickles are read in a child process."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sslcli.errors import CheckpointError
from sslcli.nn.foreign import unpickle

# Files with weights in a run of ours and in a Hugging Face folder, the safe ones first.
FOLDER = ("checkpoint.safetensors", "model.safetensors", "pytorch_model.bin")
INDEX = "model.safetensors.index.json"
_PATIENCE = 120  # seconds, and one more a 10 MB
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "OMP_NUM_THREADS")


def weights_file(path: Path) -> Path:
    """Return the file with the weights of a path: itself, or that of a run or Hugging Face folder.

    Raises:
        CheckpointError: If there is none.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        hint = "name a .safetensors, .pth, .pth.tar or .pt file, or a Hugging Face folder"
        raise CheckpointError("the weights file does not exist", str(path), hint)
    for name in FOLDER:
        if (path / name).is_file():
            return path / name
    if (path / INDEX).is_file():
        what = "the weights lie in several files, as those of large models do"
        hint = "load the model with its own library and save it with max_shard_size='100GB'"
        raise CheckpointError(what, str(path / INDEX), hint)
    what = "the folder holds no weights"
    hint = f"it has none of {', '.join(FOLDER)}; name a file, a run, or a Hugging Face folder"
    raise CheckpointError(what, str(path), hint)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name; those of nested mappings have their keys joined by dots.

    Raises:
        CheckpointError: If the file is missing or damaged, or is a pickle that needs more than
            tensors and plain containers.
    """
    file = weights_file(path)
    try:
        return _unpickled(file) if is_pickle(file) else load_file(file)
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        what = f"this is no readable file of weights: {error}"
        raise CheckpointError(what, str(file), "copy or download it again") from error


def is_pickle(file: Path) -> bool:
    """Say whether a file starts as those of torch.save do, in either format, or as any pickle."""
    try:
        with file.open("rb") as opened:
            start = opened.read(2)
    except OSError:  # whoever reads it whole says so
        return False
    return start == b"PK" or (start[:1] == b"\x80" and b"\x02" <= start[1:] <= b"\x05")


def _unpickled(file: Path) -> dict[str, Tensor]:
    """Have a child process write the tensors of a pickle as safetensors, and load those."""
    seconds = _PATIENCE + file.stat().st_size // 10**7
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="sslcli-") as folder:
        target = Path(folder, "tensors.safetensors")
        words = (sys.executable, "-P", unpickle.__file__, file.absolute(), target, str(seconds))
        try:
            done = subprocess.run(
                words, env=environment, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            what = f"reading this pickle took more than {seconds} s"
            raise CheckpointError(what, str(file), "copy or download it again") from error
        if done.returncode:
            raise _refusal(done, file)
        return load_file(target)


def _refusal(done: "subprocess.CompletedProcess[bytes]", file: Path) -> CheckpointError:
    """Return what the child process said, or how it ended."""
    try:
        said = json.loads(done.stdout)
        return CheckpointError(said["what"], str(file), said["hint"])
    except (ValueError, KeyError, TypeError):
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"its process ended with {done.returncode}"
        what = f"this pickle cannot be read within its limits: {reason}"
        return CheckpointError(what, str(file), "copy or download it again")
