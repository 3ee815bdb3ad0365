"""Encoders in the formats of other tools, each verified after it is written.

`FORMATS` maps each format to the suffix of its files and costs no import of torch;
`export_encoder` is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

FOLDER = "/"  # the suffix of a format that is a folder
FORMATS = {
    "safetensors": ".safetensors",
    "torchvision": ".safetensors",
    "timm": ".safetensors",
    "onnx": ".onnx",
    "pt2": ".pt2",
    "hf": FOLDER,
    "sentence-transformers": FOLDER,
}
_PLACES = {
    "export_encoder": "exporter",
    "ExportMeta": "report",
    "ExportReport": "report",
    "ImageInput": "inputs",
    "TextInput": "inputs",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"sslcli.formats.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
