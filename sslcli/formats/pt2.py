"""torch.export's program: graph and weights in one file, run without our code."""

import io
import json
from pathlib import Path

import torch
from torch import nn

from sslcli.formats.inputs import Network, dynamic_shapes
from sslcli.formats.report import ExportMeta

RELATIVE_TOLERANCE = 1e-5


def check(meta: ExportMeta) -> None:
    """Accept every network."""


def serialize(encoder: nn.Module, meta: ExportMeta) -> bytes:
    """Return the program with our metadata beside it."""
    example = meta.inputs.example()
    shapes = dynamic_shapes(meta.inputs)
    with torch.no_grad():
        program = torch.export.export(encoder, example, dynamic_shapes=shapes)
    buffer = io.BytesIO()
    metadata = json.dumps(meta.strings(encoder))
    torch.export.save(program, buffer, extra_files={"metadata.json": metadata})
    return buffer.getvalue()


def load(path: Path, meta: ExportMeta) -> Network:
    """Read the program back."""
    return torch.export.load(path).module()


def call(meta: ExportMeta) -> str:
    """Return the Python that runs it."""
    return f"model({', '.join(meta.inputs.names)})"


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that runs the file."""
    return ("import torch", f"model = torch.export.load({str(path)!r}).module()")
