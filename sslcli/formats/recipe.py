"""Python that rebuilds a network in another library; the printed code is the verified code."""

from pathlib import Path

from torch import nn

from sslcli.config.architectures import RESNETS, cifar_depth, vit_size
from sslcli.config.encoder import EncoderConfig
from sslcli.errors import UsageError
from sslcli.formats.inputs import Network


def check_resnet(encoder: EncoderConfig, library: str) -> None:
    """Raise UsageError unless `library` can build this ResNet."""
    others = "safetensors, onnx or pt2"
    if encoder.name.startswith("timm:") or vit_size(encoder.name):
        what, others = f"{encoder.name} is no model of {library}", f"timm, {others}"
    elif encoder.name not in RESNETS:
        family = ", of the CIFAR family," if cifar_depth(encoder.name) else ""
        what = f"{encoder.name}{family} is no model of {library}"
    elif encoder.split:
        what = f"{library} has no network of parts that see some channels each"
    elif encoder.width not in (None, 64) or encoder.stem_width not in (None, 64):
        wide = f"whose first stage is {encoder.width or 64} wide"
        wide += f" behind a stem of {encoder.stem_width}" if encoder.stem_width else ""
        what = f"{library} has no {encoder.name} {wide}"
    else:
        return
    raise UsageError(what, "format", f"use `format` {others}")


def stem_lines(encoder: EncoderConfig) -> list[str]:
    """Return the line that gives a library's ResNet the CIFAR stem, or none."""
    if encoder.stem == "imagenet":
        return []
    stem = f"torch.nn.Conv2d(3, 64, 3, {encoder.stem_stride}, {encoder.stem_padding}, bias=False)"
    return [f"model.conv1, model.maxpool = {stem}, torch.nn.Identity()"]


def load_lines(path: Path, encoder: EncoderConfig) -> list[str]:
    """Return the lines that load the file, strictly, and leave training mode."""
    lines = [
        f"model.load_state_dict(safetensors.torch.load_file({str(path)!r}))",
        "model.eval()",
    ]
    if encoder.normalize_features:
        normalize = "lambda _, images, features: torch.nn.functional.normalize(features)"
        lines.append(f"model.register_forward_hook({normalize})")
    return lines


def run(lines: tuple[str, ...]) -> Network:
    """Run a recipe of ours and return its `model`."""
    scope: dict[str, nn.Module] = {}
    exec("\n".join(lines), scope)
    return scope["model"]
