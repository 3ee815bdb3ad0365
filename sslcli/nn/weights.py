"""Give an encoder the weights in a file, which fit as a whole or are refused."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sslcli.errors import CheckpointError
from sslcli.nn.foreign.files import read_tensors
from sslcli.nn.foreign.fit import OWN, find_fit
from sslcli.nn.foreign.spelling import COUNTER
from sslcli.nn.foreign.towers import find_towers


@dataclass(frozen=True)
class LoadReport:
    """The names that were loaded from a file.

    Attributes:
        loaded: Names of the encoder.
        ignored: Names in the file that an encoder has no use for.
        prefix: Prefix of the encoder's names in the file.
        spelling: Whose names those are; empty for ours, which are torchvision's and timm's.
        others: Prefixes of networks in the file that fit as well.
    """

    loaded: tuple[str, ...]
    ignored: tuple[str, ...]
    prefix: str
    spelling: str = ""
    others: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """A remark for the user about foreign names; else empty."""
        if self.prefix in OWN and not self.spelling:
            return ""
        called = f"what the file calls {self.prefix!r}" if self.prefix else "the whole file"
        names = f", in names {self.spelling}" if self.spelling else ""
        others = f"; {len(self.ignored)} other tensors are left out" if self.ignored else ""
        also = f"; {', '.join(map(repr, self.others))} would fit as well" if self.others else ""
        return f"the encoder is {called}{names}{others}{also}"


def load_encoder_weights(
    encoder: nn.Module, path: Path | str, key: str = "", *, fresh: str = ""
) -> LoadReport:
    """Copy the weights in a file into `encoder`, all or none.

    The file is one of safetensors or torch.save. It holds an encoder's state dict, a network of
    torchvision, timm or another code (heads are ignored), or one of our checkpoints; see
    `find_fit`. A pickle is read without running what it names.

    Args:
        encoder: The network.
        path: The file, or a Hugging Face folder.
        key: Take the network below this name, such as "student".
        fresh: Tensors of the encoder with this prefix stay as they are when the file has none.

    Raises:
        CheckpointError: If the file is missing or damaged, wants code to be run, does not fit, or
            holds several networks that do.
    """
    return put_weights(encoder, read_tensors(Path(path)), str(path), key, fresh=fresh)


def put_weights(
    encoder: nn.Module,
    stored: Mapping[str, Tensor],
    where: str,
    key: str = "",
    *,
    fresh: str = "",
) -> LoadReport:
    """Copy tensors that were read from the file `where`; see `load_encoder_weights`.

    Of both towers of CLIP, whose names it may share with the other, the encoder's own is taken.
    """
    own = encoder.state_dict()
    if towers := find_towers(stored, where, key):
        stored, key = towers.tensors, ""
    new = {name: tensor for name, tensor in own.items() if fresh and name.startswith(fresh)}
    if any(name.endswith(other) for name in stored for other in new):
        new = {}
    fit = find_fit([name for name in own if name not in new], stored, where, key)
    weights = fit.tensors(stored)
    check_weights(encoder, new | weights, where, fit.prefix if fit.prefix not in OWN else "")
    encoder.load_state_dict(new | weights)
    left = fit.left(stored)
    return LoadReport(tuple(weights), left, fit.prefix, fit.spelling.label, fit.others)


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


def misfit_count(encoder: nn.Module, weights: Mapping[str, Tensor]) -> int:
    """Return how many names of an encoder and of weights are missing, unexpected or misshapen."""
    own = _shapes(encoder.state_dict())
    return len(set(own.items()) ^ set(_shapes(weights).items()))


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
    """Leave out the counters of BatchNorm."""
    return {name: x.shape for name, x in tensors.items() if not name.endswith(COUNTER)}


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
