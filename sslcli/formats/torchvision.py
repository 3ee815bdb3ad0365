"""A state dict that loads strictly into torchvision's model, classifier aside."""

from pathlib import Path

from torch import nn

from sslcli.formats import recipe, safetensors
from sslcli.formats.inputs import Network
from sslcli.formats.report import ExportMeta

RELATIVE_TOLERANCE = 1e-5


def check(meta: ExportMeta) -> None:
    """Accept torchvision's ResNets, at their own width."""
    recipe.check_resnet(meta.encoder, "torchvision")


def serialize(encoder: nn.Module, meta: ExportMeta) -> bytes:
    """Return the state dict as it is: our names are torchvision's."""
    return safetensors.serialize(encoder, meta)


def load(path: Path, meta: ExportMeta) -> Network:
    """Build torchvision's model by the printed lines."""
    return recipe.run(notes(path, meta))


def call(meta: ExportMeta) -> str:
    """Return the Python that runs it."""
    return "model(images)"


def notes(path: Path, meta: ExportMeta) -> tuple[str, ...]:
    """Return the Python that loads the file."""
    name = meta.encoder.name
    model = f"torchvision.models.{name}()"
    if name == "resnet10":  # torchvision has the class and no function for it
        block = "torchvision.models.resnet.BasicBlock"
        model = f"torchvision.models.ResNet({block}, [1, 1, 1, 1])"
    return (
        "import safetensors.torch, torch, torchvision",
        f"model = {model}",
        "model.fc = torch.nn.Identity()",
        *recipe.stem_lines(meta.encoder),
        *recipe.load_lines(path, meta.encoder),
    )
