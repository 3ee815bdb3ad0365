"""Turn a file of torch.save into safetensors, as a process of its own that can do nothing else.

`python -P unpickle.py SOURCE TARGET SECONDS` writes TARGET and exits 0, or says as JSON on stdout
why it refuses and exits 3. It imports nothing of this package.
"""

import json
import os
import pickle
import pickletools
import re
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

REFUSED = 3
LEGACY_PICKLES = 5  # before torch 1.6: a magic number, a version, the system, the object, the keys
_MAPPING = r"collections\.defaultdict|easydict\.EasyDict|addict\.\w+\.Dict|.*\.(AttributeDict|AttrDict|CfgNode|ConfigDict)"  # noqa: E501
_OBJECT = (
    r"argparse\.Namespace|types\.SimpleNamespace|typing\.Any|uuid\.\w+|copyreg\._reconstructor|"
    r"builtins\.(bool|dict|float|frozenset|int|list|object|range|slice|str|tuple)|"
    r"torch\.torch_version\.TorchVersion|(datetime|numpy|omegaconf|pathlib)(\.\w+)*\.\w+|"
    r"(pytorch_lightning|lightning)(\.\w+)*\.callbacks(\.\w+)*\.\w+"
)
_KNOWN = re.compile(  # by torch's reader of weights
    r"torch(\.\w+)*|collections\.(OrderedDict|Counter)|_codecs\.encode|"
    r"builtins\.(bytearray|complex|set)"
)
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_FORBIDDEN = re.compile(
    r"(ctypes|ftplib|http|pty|smtplib|socket|subprocess|urllib|webbrowser)\..*|"
    r"os\.(chmod|chown|exec|fork|forkpty|kill|link|mkdir|posix_spawn|putenv|remove|rename|rmdir|"
    r"spawn|startfile|symlink|system|truncate|unlink)|"
    r"shutil\..*"
)


class RefusedError(Exception):
    """The file is not read; `what` and `hint` are for the user."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


class _Dropped:
    """Stands for an object that training scripts leave beside weights; it keeps nothing."""

    def __new__(cls, *arguments: Any) -> "_Dropped":
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Drop the state."""


class _DroppedMapping(_Dropped):
    """Stands for a kind of dict, whose items are kept."""

    def __new__(cls, *arguments: Any) -> Any:
        return OrderedDict()


def tensors_in(path: Path) -> dict[str, Tensor]:
    """Return every tensor below nested mappings of a file of torch.save, names joined by dots.

    What is no tensor, and what lies under a key that is no text, is left out: an optimiser's state.

    Raises:
        RefusedError: If it is no such file, is damaged, or needs more than tensors and plain
            containers.
    """
    names = _classes(path)
    plain: list[Any] = [(kind, name) for name in names if (kind := _plain(name))]
    try:
        # opened here: of a path torch heeds the ending
        with (
            path.open("rb") as file,
            warnings.catch_warnings(action="ignore"),
            torch.serialization.safe_globals(plain),
        ):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise _refused(error, names) from error
    except (OSError, EOFError, MemoryError, AttributeError, AssertionError) as error:
        raise _damaged(error) from error
    found: dict[str, Tensor] = {}
    for name, tensor in _flat(content, ""):
        found.setdefault(name, tensor)
    return found


def _plain(name: str) -> Any:
    """Return what stands for a plain container of this name; None for any other class."""
    if re.fullmatch(_MAPPING, name):
        return _DroppedMapping
    return _Dropped if re.fullmatch(_OBJECT, name) else None


def _flat(node: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        if node.layout == torch.strided and not node.is_quantized and not node.is_meta and prefix:
            yield prefix, node.detach().contiguous()
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(key, str):
                yield from _flat(value, f"{prefix}.{key}" if prefix else key)


def _classes(path: Path) -> list[str]:
    """Return the classes and functions that a file's pickles name; nothing is loaded."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return sorted({name for _ in range(LEGACY_PICKLES) for name in _named(file)})
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if any(member.endswith("constants.pkl") for member in members):
            what = "this is TorchScript, a program; weights alone are read"
            hint = (
                'where you trust it: torch.save(torch.jit.load("FILE").state_dict(), "weights.pth")'
            )
            raise RefusedError(what, hint)
        pickles = [member for member in members if member.endswith("data.pkl")]
        if not pickles:
            what = f"this archive holds no weights of torch.save, but {', '.join(members[:3])}"
            raise RefusedError(what, "name a .pth, .pth.tar, .pt or .safetensors file")
        with archive.open(pickles[0]) as file:
            return sorted(set(_named(file)))


def _named(file: Any) -> Iterator[str]:
    """Yield the names that one pickle imports."""
    texts: list[str | None] = []  # what the latest opcodes pushed: text, or None for all else
    memo: dict[int, str | None] = {}
    try:
        for opcode, value, _ in pickletools.genops(file):
            if opcode.name == "GLOBAL":
                module, _, name = str(value).partition(" ")
                yield f"{_PYTHON_2.get(module, module)}.{name}"
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(text or "?" for text in texts[-2:])
            if opcode.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
                memo[len(memo) if value is None else int(value)] = texts[-1]
            elif opcode.name in ("BINGET", "LONG_BINGET"):
                texts = [*texts[-1:], memo.get(int(value or 0))]
            else:
                texts = [*texts[-1:], str(value) if "UNICODE" in opcode.name else None]
    except Exception:  # bytes that are no pickle; torch.load says so
        return


def _refused(error: Exception, names: list[str]) -> RefusedError:
    """Return why torch's reader of weights refuses a file."""
    wanted, is_late = re.search(r"GLOBAL ([\w.]+)", str(error)), "operand" in str(error)
    strange = [name for name in names if not _plain(name) and not _KNOWN.fullmatch(name)]
    is_cut = wanted and not any(name.endswith(wanted[1]) for name in names)  # within the name
    if is_cut or not (wanted or (is_late and names)):
        return _damaged(error)
    named = wanted[1] if wanted else next(iter(strange), "")
    if not named:
        what = "the file is pickled by protocol 4 or later, which torch reads only with its code"
        return RefusedError(what, "save it again by torch.save's own protocol, which is 2")
    what = f"reading this file would run {named}, which is neither a tensor nor a plain container"
    if named.startswith("torch.nn.") or ".models." in named:
        what = f"the file holds a whole network, pickled with its class {named}"
    hint = "where you trust it, save its weights alone: torch.save(network.state_dict(), FILE)"
    return RefusedError(what, hint)


def _damaged(error: Exception) -> RefusedError:
    reason = (str(error).strip() or type(error).__name__).split("\n")[0].split(". ")[0][:200]
    what = f"the file is damaged, cut off, or none of torch.save: {reason}"
    return RefusedError(what, "copy or download it again")


def confine(source: Path, seconds: int) -> None:
    """Take from this process what reading a file does not need.

    Memory, processor time, sizes of files and core dumps are limited where the system can; opening
    a file to write, the network, other programs and changes of files are refused by an audit hook,
    which cannot be taken back.
    """
    if sys.platform != "win32":  # which has no such limits
        _limit(source, seconds)
    sys.addaudithook(_audit)


def _limit(source: Path, seconds: int) -> None:
    """Limit this process's processor time, core dumps, sizes of files and memory."""
    import resource  # noqa: PLC0415  Windows has none

    size = source.stat().st_size
    limits = {"RLIMIT_CPU": seconds, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 2 * size + 2**26}
    if (statistics := Path("/proc/self/statm")).is_file():
        now = int(statistics.read_text().split()[0]) * resource.getpagesize()
        limits["RLIMIT_AS"] = now + 6 * size + 2**30
    for name, limit in limits.items():
        _, hard = resource.getrlimit(getattr(resource, name))
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(getattr(resource, name), (limit, hard))


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and bool(
        (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    )
    if writes or _FORBIDDEN.fullmatch(event):
        raise PermissionError(f"reading weights may not do this: {event}")


def main(source: str, target: str, seconds: str) -> int:
    """Read, write, and return the exit code."""
    try:
        confine(Path(source), int(seconds))
        save_file({n: t.clone() for n, t in tensors_in(Path(source)).items()}, target)
    except RefusedError as refused:
        print(json.dumps({"what": refused.what, "hint": refused.hint}))
        return REFUSED
    except MemoryError:
        fault = {"what": "reading the file takes more memory than its size explains", "hint": ""}
        print(json.dumps(fault))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
