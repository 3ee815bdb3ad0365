"""A folder that transformers loads: of an encoder of sentences, or of both towers of CLIP."""

from pathlib import Path
from types import ModuleType

from torch import nn

from sslcli.formats import hf_sentences, hf_towers
from sslcli.formats.inputs import Network
from sslcli.formats.report import ExportMeta

RELATIVE_TOLERANCE = 1e-5


def _kind(meta: ExportMeta) -> ModuleType:
    return hf_towers if meta.pair else hf_sentences


def check(meta: ExportMeta) -> None:
    """Accept what a class of transformers is.

    Raises:
        UsageError: If it is another network.
    """
    _kind(meta).check(meta)


def fill(folder: Path, encoder: nn.Module, meta: ExportMeta) -> None:
    """Write the files."""
    _kind(meta).fill(folder, encoder, meta)


def load(path: Path, meta: ExportMeta) -> Network:
    """Read the folder with transformers."""
    network: Network = _kind(meta).load(path, meta)
    return network


def call(meta: ExportMeta) -> str:
    """Return nothing: the notes show the whole."""
    return ""


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that loads the folder."""
    lines: tuple[str, ...] = _kind(meta).notes(path, meta)
    return lines
