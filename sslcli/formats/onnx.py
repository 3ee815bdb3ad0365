"""An ONNX graph with a free batch size, checked and run by onnxruntime."""

from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from sslcli.formats.compare import Features
from sslcli.formats.report import ExportMeta

RELATIVE_TOLERANCE = 1e-4  # onnxruntime fuses BatchNorm into convolutions
RUN = 'session.run(None, {"images": images.numpy()})[0]'


def check(meta: ExportMeta) -> None:
    """Accept every network; the converter refuses those that it does not support."""


def serialize(encoder: nn.Module, meta: ExportMeta) -> bytes:
    """Convert the encoder and put our metadata into the model."""
    program = torch.onnx.export(
        encoder,
        (torch.zeros(2, 3, meta.image_size, meta.image_size),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["images"],
        output_names=[meta.output],
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, meta.strings(encoder))
    return model.SerializeToString()


def load(path: Path, meta: ExportMeta) -> Features:
    """Check the file and open it on the CPU."""
    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def features(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([meta.output], {"images": images.numpy()})[0])

    return features


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that runs the file."""
    return (
        "import onnxruntime",
        f"session = onnxruntime.InferenceSession({str(path)!r})",
    )
