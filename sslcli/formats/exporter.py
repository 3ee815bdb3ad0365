"""Write an encoder in one format, read it back and compare, before the file gets its name."""

import copy
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import torch
from torch import nn

from sslcli.errors import SslError, UsageError
from sslcli.files import fill_atomically, write_atomically
from sslcli.formats import FOLDER, FORMATS
from sslcli.formats.compare import Comparison, compare
from sslcli.formats.inputs import Network
from sslcli.formats.report import ExportMeta, ExportReport

# Packages of an extra that a format needs.
_EXTRAS = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


@runtime_checkable
class Format(Protocol):
    """The functions of each format's module; the module itself is the object."""

    RELATIVE_TOLERANCE: float

    def check(self, meta: ExportMeta) -> None:
        """Raise UsageError if the format has no place for this network."""

    def load(self, path: Path, meta: ExportMeta) -> Network:
        """Read the file back as the other tool would."""

    def call(self, meta: ExportMeta) -> str:
        """Return Python that gives the output of the inputs; empty if the file needs our code."""

    def notes(self, path: Path, meta: ExportMeta) -> tuple[str, ...]:
        """Say how to open the file."""


@runtime_checkable
class FileFormat(Format, Protocol):
    """A format of one file."""

    def serialize(self, encoder: nn.Module, meta: ExportMeta) -> bytes:
        """Return the file's contents."""


@runtime_checkable
class FolderFormat(Format, Protocol):
    """A format of a folder with several files."""

    def fill(self, folder: Path, encoder: nn.Module, meta: ExportMeta) -> None:
        """Write the files into an empty folder."""


def export_encoder(
    format: str, encoder: nn.Module, meta: ExportMeta, path: Path | str, *, overwrite: bool = False
) -> ExportReport:
    """Write `encoder` to `path` in a format of `FORMATS`, verified; `encoder` stays as it is.

    Raises:
        UsageError: If the format is unknown, does not apply or lacks a package, or the file exists.
        ResourceError: If the file cannot be written.
        SslError: If the copy cannot be made or its features differ; no file is left.
    """
    target = Path(path)
    module = _format(format)
    module.check(meta)
    is_folder = FORMATS[format] == FOLDER
    is_other = target.is_file() if is_folder else target.is_dir()
    if is_other or (target.exists() and not overwrite):
        hint = "name a folder" if is_folder else "name a file"
        hint = hint if is_other else "choose another name, or add `overwrite`"
        raise UsageError(f"{target} exists", "out", hint)
    encoder = copy.deepcopy(encoder).cpu().float().to(memory_format=torch.contiguous_format).eval()

    def write(temporary: Path) -> Comparison:
        found = _write_and_compare(module, encoder, meta, temporary)
        if not found.holds:
            raise _difference(format, found, target)
        return found

    result = (fill_atomically if is_folder else write_atomically)(target, write)
    return ExportReport(
        format,
        target,
        result.samples,
        result.max_abs_error,
        result.tolerance,
        (*meta.inputs.note, *module.notes(target, meta), *_run(module, meta)),
        sum(file.stat().st_size for file in (target, *target.rglob("*")) if file.is_file()),
        meta.inputs.reads,
    )


def _difference(format: str, found: Comparison, target: Path) -> SslError:
    return SslError(
        f"the {format} copy gives other features: they differ by "
        f"{found.max_abs_error:.3g}, more than {found.tolerance:.3g}",
        str(target),
        "nothing was kept; try another format and report this one",
    )


def _run(module: Format, meta: ExportMeta) -> tuple[str, ...]:
    call = module.call(meta)
    return (f"{meta.output} = {call}",) if call else ()


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise UsageError(f"no format is called {name!r}", "format", f"one of {', '.join(FORMATS)}")
    if missing := [package for package in _EXTRAS.get(name, ()) if find_spec(package) is None]:
        what = f"the format {name} needs {', '.join(missing)}"
        raise UsageError(what, "format", f"pip install 'sslcli[{name}]'")
    return cast(Format, import_module(f"sslcli.formats.{name.replace('-', '_')}"))


def _write_and_compare(
    module: Format, encoder: nn.Module, meta: ExportMeta, path: Path
) -> Comparison:
    try:
        with torch.random.fork_rng(devices=[]):  # rebuilding a network draws weights
            if isinstance(module, FolderFormat):
                module.fill(path, encoder, meta)
            else:
                path.write_bytes(cast(FileFormat, module).serialize(encoder, meta))
            return compare(encoder, module.load(path, meta), meta, module.RELATIVE_TOLERANCE)
    except (SslError, OSError, MemoryError):
        raise
    except Exception as error:  # converters raise errors of many types
        reason = str(error).strip().split("\n")[0]
        what = f"{meta.encoder.name} could not be converted: {reason}"
        raise SslError(what, str(path.parent), "nothing was kept; try another format") from error
