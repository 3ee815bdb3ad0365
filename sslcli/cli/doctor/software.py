"""Checks of `ssl doctor`: which software is here, and which files would hide it."""

import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.machinery import BuiltinImporter, FrozenImporter
from importlib.util import find_spec
from pathlib import Path

from sslcli.cli.doctor.checkup import Finding

EXTRAS = {
    "attack": "ssl robust-eval --autoattack",
    "clip": "ssl zero-shot-eval --prompts imagenet, and the tokens of CLIP's presets",
    "mlflow": "ssl pretrain --log mlflow",
    "onnx": "ssl export --format onnx",
    "parquet": "ssl embed --out F.parquet",
    "tensorboard": "TensorBoard curves beside metrics.jsonl",
    "test": "tests/run.sh",
    "trackio": "ssl pretrain --log trackio",
    "umap": "ssl map --by umap",
    "wandb": "ssl pretrain --log wandb",
}
_LEAST_PYTHON = (3, 11)
_REQUIREMENT = re.compile(
    r"([\w.-]+)\s*(?:>=\s*([\d.]+))?[^;]*(?:;\s*extra == ['\"]([\w-]+)['\"])?"
)
_MODULES = {"scikit-learn": "sklearn", "pillow": "PIL", "faiss-cpu": "faiss", "tomli-w": "tomli_w"}
_VISION_BEHIND = 15  # torchvision 0.N is built for torch 2.(N - 15), since 2.0


def python() -> Iterator[Finding]:
    """Say which Python runs which sslcli."""
    from sslcli import __version__

    version = ".".join(map(str, sys.version_info[:3]))
    found = f"{version} at {sys.executable}, sslcli {__version__} in {Path(__file__).parents[1]}"
    if sys.version_info < _LEAST_PYTHON:
        yield Finding("python", "fault", found, "install Python 3.11 or newer")
    else:
        yield Finding("python", "ok", found)


def torch() -> Iterator[Finding]:
    """Load torch and torchvision's library and tell whether they were built for each other."""
    advice = "install both anew, together: pip install --force-reinstall torch torchvision"
    try:
        import torch
    except Exception as error:  # a torch that does not fit the machine raises anything
        yield Finding("torch", "fault", f"cannot be imported: {_first_line(error)}", advice)
        return
    yield Finding("torch", "ok", torch.__version__)
    vision = _version("torchvision")
    if vision is None:
        return  # `dependencies` says so
    try:
        _load_operators()
    except OSError as error:
        found = f"{vision} does not fit torch {torch.__version__}: {_first_line(error)}"
        yield Finding("torchvision", "fault", found, advice)
        return
    major, minor = _numbers(torch.__version__)[:2]
    if major == 2 and _numbers(vision)[:2] != (0, minor + _VISION_BEHIND):
        advice = f"pip install 'torchvision==0.{minor + _VISION_BEHIND}.*', the one for this torch"
        found = f"{vision}, not built for torch {torch.__version__}"
        yield Finding("torchvision", "warning", found, advice)
    else:
        yield Finding("torchvision", "ok", f"{vision}, built for torch {torch.__version__}")


def _load_operators() -> None:
    """Load torchvision's compiled operators as its import would, a second faster."""
    import torch

    spec = find_spec("torchvision")
    for folder in (spec and spec.submodule_search_locations) or ():
        for library in Path(folder).glob("_C*.so"):
            torch.ops.load_library(library)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def dependencies() -> Iterator[Finding]:
    """Compare what is installed with what sslcli needs."""
    needed = [(name, least) for name, least, extra in _requirements() if not extra]
    lacking = [name for name, _ in needed if _version(name) is None]
    old = [
        f"{name} {have} (needs {least})"
        for name, least in needed
        if (have := _version(name)) and _numbers(have) < _numbers(least)
    ]
    if lacking:
        advice = f"pip install {' '.join(lacking)}"
        yield Finding("dependencies", "fault", f"missing: {', '.join(lacking)}", advice)
    if old:
        advice = "pip install --upgrade sslcli"
        yield Finding("dependencies", "warning", f"too old: {', '.join(old)}", advice)
    if not lacking and not old:
        yield Finding("dependencies", "ok", f"all {len(needed)} are here and new enough")


def extras() -> Iterator[Finding]:
    """Say what each extra would bring that is not here yet."""
    requirements = _requirements()
    for extra, purpose in EXTRAS.items():
        names = sorted({name for name, _, its in requirements if its == extra})
        missing = [name for name in names if _version(name) is None]
        if not missing:
            yield Finding(f"extra {extra}", "ok", purpose)
            continue
        found = f"no {purpose}: without {', '.join(missing)}"
        yield Finding(f"extra {extra}", "note", found, f"pip install 'sslcli[{extra}]'")


def shadows() -> Iterator[Finding]:
    """Name what in the current folder hides a module from `python -m sslcli`.

    `python -m`, `torchrun -m` and the processes of --devices look into the current folder first;
    the command `ssl` by itself does so only when PYTHONPATH says so.
    """
    folder = Path.cwd()
    hiding = sorted({path for path in folder.iterdir() if _module(path) in _hideable()})
    if not hiding:
        yield Finding("current folder", "ok", "no file in it hides a module")
        return
    here = any(Path(entry or ".").resolve() == folder for entry in sys.path)
    for path in hiding:
        found = f"{path.name} hides the module {_module(path)} from `python -m sslcli`, `torchrun`"
        found += ", --devices, and this very process" if here else " and --devices"
        advice = f"rename {path.name}, or start from another folder"
        yield Finding("current folder", "warning", found, advice)


def _module(path: Path) -> str:
    """Return the name that a file or package is imported by; an empty text if it cannot be."""
    if path.suffix in (".py", ".so", ".pyd") and path.is_file():
        return path.name.split(".")[0]
    return path.name if (path / "__init__.py").is_file() and not _is_own(path) else ""


def _is_own(path: Path) -> bool:
    return path.resolve() == Path(__file__).resolve().parents[1]


def _hideable() -> set[str]:
    """Return the modules that we use and that a file can hide; those built into Python are not."""
    declared = {_MODULES.get(name, name) for name, _, extra in _requirements() if extra != "test"}
    imported = {name.partition(".")[0] for name in sys.modules} - {"__main__"}
    return {
        name
        for name in {"sslcli"} | declared | imported | sys.stdlib_module_names
        if not BuiltinImporter.find_spec(name) and not FrozenImporter.find_spec(name)
    }


def _requirements() -> Sequence[tuple[str, str, str]]:
    """Return name, least version and extra ("" for none) of all that sslcli declares."""
    found = []
    for line in metadata.requires("sslcli") or ():
        match = _REQUIREMENT.match(line)
        assert match, line
        name, least, extra = match.groups(default="")
        found.append((name.lower(), least, extra))
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: 2.14.1+cpu is (2, 14, 1)."""
    return tuple(int(n) for n in re.findall(r"\d+", re.split(r"[^\d.]", version, maxsplit=1)[0]))
