"""Read the tensors of a file that another code has saved; pickles are read in a child process."""

import hashlib
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
from sslcli.files import sha256
from sslcli.nn.foreign import unpickle

# Files with weights in a run of ours and in a Hugging Face folder, the safe ones first.
FOLDER = ("checkpoint.safetensors", "model.safetensors", "pytorch_model.bin")
# Lists of the files that the tensors of a large model lie in, as transformers writes them.
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_PATIENCE = 120  # seconds, and one more a 10 MB
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "OMP_NUM_THREADS")


def weights_file(path: Path) -> Path:
    """Return the file with the weights of a path: itself, or that of a run or Hugging Face folder.

    Of weights in several files it is their index; see `parts_of`.

    Raises:
        CheckpointError: If there is none.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        hint = "name a .safetensors, .pth, .pth.tar or .pt file, or a Hugging Face folder"
        raise CheckpointError("the weights file does not exist", str(path), hint)
    for name in (*FOLDER, *INDEXES):
        if (path / name).is_file():
            return path / name
    what = "the folder holds no weights"
    hint = f"it has none of {', '.join(FOLDER)}; name a file, a run, or a Hugging Face folder"
    raise CheckpointError(what, str(path), hint)


def is_index(file: Path) -> bool:
    """Say whether a file lists the files that tensors lie in."""
    return file.name in INDEXES


def parts_of(file: Path) -> list[Path]:
    """Return the files that the tensors of a file of weights lie in: itself, or those of an index.

    Raises:
        CheckpointError: If an index is damaged, names files elsewhere, or one of them is missing.
    """
    if not is_index(file):
        return [file]
    try:
        names = sorted(
            {str(name) for name in json.loads(file.read_text("utf-8"))["weight_map"].values()}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"the index of the weights cannot be understood: {type(error).__name__}: {error}"
        raise CheckpointError(what, str(file), "copy or download it again") from error
    if strange := [name for name in names if Path(name).name != name]:
        what = f"the index names a file outside its folder: {strange[0]}"
        raise CheckpointError(what, str(file), "download the folder again")
    if missing := [name for name in names if not (file.parent / name).is_file()]:
        what = f"{len(missing)} of {len(names)} files of weights are missing: {missing[0]}"
        raise CheckpointError(what, str(file), "copy or download them too")
    return [file.parent / name for name in names]


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file of weights, or that of the list of those of an index."""
    if not is_index(file):
        return sha256(file)
    lines = [f"{sha256(part)}  {part.name}\n" for part in parts_of(file)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name; those of nested mappings have their keys joined by dots.

    Raises:
        CheckpointError: If the file is missing or damaged, or is a pickle that needs more than
            tensors and plain containers.
    """
    found: dict[str, Tensor] = {}
    for part in parts_of(weights_file(path)):
        found |= _read(part)
    return found


def _read(file: Path) -> dict[str, Tensor]:
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
