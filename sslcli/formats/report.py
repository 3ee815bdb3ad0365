"""The input and the report of an export: facts about the encoder and about the file written."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sslcli.config.encoder import EncoderConfig
from sslcli.config.section import Column
from sslcli.formats.inputs import Inputs


@dataclass(frozen=True)
class PairMeta:
    """Facts about both towers of a method.

    Attributes:
        text_encoder: Name and settings of that of texts.
        dim: Entries of the vectors in which they meet.
        scale: What a cosine is multiplied by to make a logit of it.
        bias: What is added.
    """

    text_encoder: EncoderConfig
    dim: int
    scale: float
    bias: float


@dataclass(frozen=True)
class ExportMeta:
    """Facts about an encoder that its weights do not tell.

    Attributes:
        encoder: Name and settings that built the network.
        inputs: What it takes.
        classes: Names of the classes, when a classifier is exported with the encoder.
        calibrator: Name of the calibrator of its logits; empty without one.
        projection: Entries of the layer without bias behind the encoder; None without one.
        pair: What stands beside it in a file of both towers; None for any other file.
    """

    encoder: EncoderConfig
    inputs: Inputs
    classes: tuple[str, ...] = ()
    calibrator: str = ""
    projection: int | None = None
    pair: PairMeta | None = None

    @property
    def output(self) -> str:
        """Name of the network's output."""
        return "logits" if self.classes else "features"

    def strings(self, encoder: nn.Module) -> dict[str, str]:
        """Return the metadata that goes into the file, each value as JSON but the name."""
        values = {
            "encoder": self.encoder.model_dump(exclude={"weights"}),
            **self._described_output(encoder),
            **self.inputs.facts,
        }
        if self.projection:
            values["projection"] = self.projection
        plain = {name: json.dumps(value) for name, value in values.items()}
        return {"architecture": self.encoder.name, **plain}

    def _described_output(self, encoder: nn.Module) -> dict[str, Any]:
        if self.classes:
            return {"classes": self.classes, "calibrator": self.calibrator or None}
        assert isinstance(encoder.feature_dim, int)
        return {"feature_dim": encoder.feature_dim}


@dataclass(frozen=True)
class ExportReport:
    """A file that was written, read back as its next tool reads it, and compared.

    Attributes:
        format: One of `FORMATS`.
        path: The file.
        compared: Inputs whose features were compared.
        max_abs_error: Largest difference of any feature.
        tolerance: What that difference may be.
        notes: How to use the file, line by line.
        bytes: Size of the file.
        reads: The column of the data that the network takes.
    """

    format: str
    path: Path
    compared: int
    max_abs_error: float
    tolerance: float
    notes: tuple[str, ...]
    bytes: int
    reads: Column = "image"
