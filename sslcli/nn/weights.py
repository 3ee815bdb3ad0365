"""Start an encoder from a .safetensors file, which fits as a whole or is refused."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sslcli.errors import CheckpointError

# Where the encoder lives in a file: in our checkpoints, in a method's state dict, or on its own.
_PREFIXES = ("method.encoder.", "encoder.", "")
# torchvision's and timm's names for the layer that an encoder leaves out.
_CLASSIFIERS = ("fc.", "classifier.", "head.")


@dataclass(frozen=True)
class LoadReport:
    """The names that were loaded from a file.

    Attributes:
        loaded: Names of the encoder.
        ignored: Names in the file that an encoder has no use for.
        prefix: Prefix of the encoder's names in the file.
    """

    loaded: tuple[str, ...]
    ignored: tuple[str, ...]
    prefix: str

    @property
    def note(self) -> str:
        """A remark for the user about a foreign prefix; else empty."""
        if self.prefix in _PREFIXES:
            return ""
        others = f"; {len(self.ignored)} other tensors are left out" if self.ignored else ""
        return f"the encoder is what the file calls {self.prefix!r}{others}"


def load_encoder_weights(encoder: nn.Module, path: Path | str) -> LoadReport:
    """Copy the weights in a .safetensors file into `encoder`, all or none.

    The file holds an encoder's state dict, a torchvision or timm model (its classifier is ignored),
    or one of our checkpoints (its heads are ignored). A foreign prefix of every name, such as
    "module." or "backbone.", is removed, if it is the only one that fits. Pickles are never read.

    Raises:
        CheckpointError: If the file is missing, damaged or a pickle, or does not fit, or holds
            several networks that do.
    """
    stored = _read(Path(path))
    own = encoder.state_dict()
    prefix = _prefix(own, stored, str(path))
    found = {name[len(prefix) :]: x for name, x in stored.items() if name.startswith(prefix)}
    ignored = [name for name in stored if not name.startswith(prefix)]
    classifier = [name for name in found if name not in own and name.startswith(_CLASSIFIERS)]
    weights = {name: tensor for name, tensor in found.items() if name not in classifier}
    check_weights(encoder, weights, str(path), prefix if prefix not in _PREFIXES else "")
    encoder.load_state_dict(weights)
    return LoadReport(tuple(weights), (*ignored, *(prefix + name for name in classifier)), prefix)


def check_weights(
    encoder: nn.Module, weights: Mapping[str, Tensor], where: str, prefix: str = ""
) -> None:
    """Check that `encoder.load_state_dict(weights)` will work, and that weights are finite.

    The encoder may be on the meta device: what a damaged file asks for may exceed the memory.

    Args:
        encoder: Whose state dict is compared.
        weights: By their names in that state dict.
        where: The file, for the error.
        prefix: What the file has before those names, when the error should say so.

    Raises:
        CheckpointError: If a name, a shape or a type differs, or a value is not finite.
    """
    own = encoder.state_dict()
    if faults := list(_misfits(own, weights)):
        called = f"the weights under {prefix!r}" if prefix else "these weights"
        what = f"{called} do not fit the encoder: {'; '.join(faults)}"
        raise CheckpointError(what, where, _hint(own, weights))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise CheckpointError(f"the weights file {kind}", str(path), "name a .safetensors file")
    try:
        with path.open("rb") as file:
            is_pickle = file.read(2) in (b"PK", b"\x80\x02")  # torch.save's two formats
        if not is_pickle:
            return load_file(path)
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        what = f"this is no readable .safetensors file: {error}"
        raise CheckpointError(what, str(path), "copy or download it again") from error
    raise CheckpointError(
        "this is a pickle, which could run code when it is read",
        str(path),
        "convert it where you trust it: safetensors.torch.save_file("
        'torch.load("weights.pth", weights_only=True), "weights.safetensors")',
    )


def _prefix(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], where: str) -> str:
    """Return the prefix of an encoder's names in a file.

    Raises:
        CheckpointError: If several foreign ones fit.
    """
    for prefix in _PREFIXES:
        if any(prefix + name in stored for name in own):
            return prefix
    names = _shapes(own)
    ends = (
        (name, stored_name)
        for name in names
        for stored_name in stored
        if stored_name.endswith(f".{name}")
    )
    found = Counter(stored_name.removesuffix(name) for name, stored_name in ends)
    whole = [prefix for prefix, count in found.items() if count == len(names)]
    if len(whole) > 1:
        named = ", ".join(map(repr, sorted(whole)))
        hint = (
            f"keep one: {{n: x for n, x in load_file(FILE).items() if n.startswith({whole[0]!r})}}"
        )
        raise CheckpointError(f"{len(whole)} networks in the file fit: {named}", where, hint)
    nearest = max(found, key=lambda prefix: found[prefix], default="")
    return nearest if 2 * found[nearest] >= len(names) else ""


def _misfits(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    shapes = _shapes(own)
    if missing := [name for name in shapes if name not in found]:
        yield f"{len(missing)} of {len(shapes)} missing ({_first(missing)})"
    if unexpected := [name for name in found if name not in own]:
        yield f"{len(unexpected)} unexpected ({_first(unexpected)})"
    shared = [name for name in own if name in found]
    if other := [name for name in shared if own[name].shape != found[name].shape]:
        pairs = [
            f"{n} {list(found[n].shape)} in the file, {list(own[n].shape)} here" for n in other
        ]
        yield f"{len(other)} of another shape ({_first(pairs)})"
    if types := [name for name in shared if _is_real(own[name]) != _is_real(found[name])]:
        yield f"{len(types)} of another type ({_first(types)})"
    if broken := [name for name in shared if not torch.isfinite(found[name]).all()]:
        yield f"{len(broken)} with values that are not finite ({_first(broken)})"


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Leave out the counters of BatchNorm: some files lack them, and load_state_dict allows it."""
    counter = "num_batches_tracked"
    return {name: x.shape for name, x in tensors.items() if not name.endswith(counter)}


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _hint(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Guess from the first convolution and the number of blocks which setting differs."""
    if _shapes(own) == _shapes(found):
        return "copy or make the file again"
    here, there = own.get("conv1.weight"), found.get("conv1.weight")
    if here is None or there is None or here.ndim != there.ndim:
        return "check encoder.name and data.image_size: the file is of another network"
    if here.shape[2:] != there.shape[2:]:
        stem = "imagenet" if there.shape[2] == 7 else "cifar"
        return f'the file has a {there.shape[2]}x{there.shape[3]} stem: try encoder.stem = "{stem}"'
    if here.shape[0] != there.shape[0]:
        return f"the file's first stage is {there.shape[0]} wide: try encoder.width"
    blocks = "-".join(str(count) for count in _blocks(found))
    return f"check encoder.name: the file has {blocks} blocks in its stages"


def _blocks(found: Mapping[str, Tensor]) -> Iterator[int]:
    for stage in range(1, 5):
        prefix = f"layer{stage}."
        yield len({name.split(".")[1] for name in found if name.startswith(prefix)})
