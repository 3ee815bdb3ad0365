"""A state dict that loads strictly into timm's model, classifier aside."""

from pathlib import Path

from torch import nn

from sslcli.config.architectures import TransformerSize, patch_side, vit_size
from sslcli.formats import recipe, safetensors
from sslcli.formats.inputs import Network
from sslcli.formats.report import ExportMeta
from sslcli.nn.encoders import timm_options

RELATIVE_TOLERANCE = 1e-5


def check(meta: ExportMeta) -> None:
    """Accept timm's models, torchvision's ResNets, and our transformers, which are timm's class."""
    if not meta.encoder.name.startswith("timm:") and not vit_size(meta.encoder.name):
        recipe.check_resnet(meta.encoder, "timm")


def serialize(encoder: nn.Module, meta: ExportMeta) -> bytes:
    """Return the state dict as it is: our ResNets and transformers have timm's names."""
    return safetensors.serialize(encoder, meta)


def load(path: Path, meta: ExportMeta) -> Network:
    """Build timm's model by the printed lines."""
    return recipe.run(notes(path, meta))


def call(meta: ExportMeta) -> str:
    """Return the Python that runs it."""
    return "model(images)"


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that loads the file."""
    if size := vit_size(meta.encoder.name):
        return _transformer(size, meta, path)
    name = meta.encoder.name
    if name.startswith("timm:"):
        name = name.removeprefix("timm:")
        arguments = [
            f"{key}={value}" for key, value in timm_options(name, meta.inputs.image_size).items()
        ]
    else:
        arguments = ["num_classes=0"]
    if name == "resnet10":
        name, arguments = "resnet18", [*arguments, "layers=(1, 1, 1, 1)"]
    return (
        "import safetensors.torch, timm, torch",
        f"model = timm.create_model({', '.join([repr(name), *arguments])})",
        *recipe.stem_lines(meta.encoder),
        *recipe.load_lines(path, meta.encoder),
    )


def _transformer(size: TransformerSize, meta: ExportMeta, path: Path) -> tuple[str, ...]:
    arguments = {
        "img_size": meta.inputs.image_size,
        "patch_size": patch_side(meta.encoder),
        "embed_dim": size.width,
        "depth": size.depth,
        "num_heads": size.heads,
        "num_classes": 0,
    }
    written = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return (
        "import safetensors.torch, timm, torch",
        f"model = timm.models.VisionTransformer({written})",
        *recipe.load_lines(path, meta.encoder),
    )
