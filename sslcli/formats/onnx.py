"""An ONNX graph with a free batch size, checked and run by onnxruntime."""

import warnings
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from sslcli.formats.inputs import Network, dynamic_shapes
from sslcli.formats.report import ExportMeta

RELATIVE_TOLERANCE = 1e-4  # onnxruntime fuses BatchNorm into convolutions


def check(meta: ExportMeta) -> None:
    """Accept every network; the converter refuses those that it does not support."""


def serialize(encoder: nn.Module, meta: ExportMeta) -> bytes:
    """Convert the encoder and put our metadata into the model."""
    with warnings.catch_warnings():  # ids and mask share their axes, as they shall
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        program = torch.onnx.export(
            encoder,
            meta.inputs.example(),
            dynamic_shapes=dynamic_shapes(meta.inputs),
            input_names=list(meta.inputs.names),
            output_names=[meta.output],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, meta.strings(encoder))
    return model.SerializeToString()


def load(path: Path, meta: ExportMeta) -> Network:
    """Check the file and open it on the CPU."""
    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def features(*inputs: Tensor) -> Tensor:
        named = {n: each.numpy() for n, each in zip(meta.inputs.names, inputs, strict=True)}
        return torch.from_numpy(session.run([meta.output], named)[0])

    return features


def call(meta: ExportMeta) -> str:
    """Return the Python that runs it."""
    named = ", ".join(f'"{name}": {name}.numpy()' for name in meta.inputs.names)
    return f"session.run(None, {{{named}}})[0]"


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that runs the file."""
    return (
        "import onnxruntime",
        f"session = onnxruntime.InferenceSession({str(path)!r})",
    )
