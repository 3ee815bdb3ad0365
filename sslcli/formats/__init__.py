"""Encoders in the formats of other tools, each verified after it is written.

`FORMATS` maps each format to the suffix of its files and costs no import of torch;
`export_encoder` is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

FORMATS = {
    "safetensors": ".safetensors",
    "torchvision": ".safetensors",
    "timm": ".safetensors",
    "onnx": ".onnx",
    "pt2": ".pt2",
}


def __getattr__(name: str) -> Any:
    if name in ("export_encoder", "ExportMeta", "ExportReport"):
        module = "exporter" if name == "export_encoder" else "report"
        return getattr(import_module(f"sslcli.formats.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
