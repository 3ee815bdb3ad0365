"""Our own format: the encoder's weights, with metadata that rebuilds the network."""

from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from sslcli.formats.inputs import Network
from sslcli.formats.report import ExportMeta
from sslcli.nn.encoders import build_encoder
from sslcli.nn.tower import Tower
from sslcli.nn.weights import load_encoder_weights

RELATIVE_TOLERANCE = 1e-6


def check(meta: ExportMeta) -> None:
    """Accept every network."""


def serialize(encoder: nn.Module, meta: ExportMeta) -> bytes:
    """Return the state dict with metadata; other readers look for the key "format"."""
    tensors = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    metadata = {"format": "pt", **meta.strings(encoder)}
    return save(tensors, metadata)


def load(path: Path, meta: ExportMeta) -> Network:
    """Build the network that the metadata names and load it strictly."""
    network: Any = build_encoder(meta.encoder, meta.inputs.image_size)
    if meta.projection:
        network = Tower(network, nn.Linear(network.feature_dim, meta.projection, bias=False))
    load_encoder_weights(network, path)
    return network.eval()


def call(meta: ExportMeta) -> str:
    """Return nothing: the file holds weights alone."""
    return ""


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Say how another run starts from the file."""
    field = "text_encoder" if meta.projection and meta.inputs.reads == "text" else "encoder"
    return (f"start a run from it: `overrides` '{field}.weights=\"{path}\"'",)
