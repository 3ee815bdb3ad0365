"""Run the encoder for evaluation once, and cache its features."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sslcli.data.evaluation import Inputs
from sslcli.engine.device import autocast
from sslcli.errors import DataError, ResourceError
from sslcli.evaluate.finite import need_finite
from sslcli.files import write_atomically
from sslcli.nn.modes import evaluating

_FORMAT = "3"  # raise it when the same weights give another feature of the same image


@dataclass(frozen=True)
class Features:
    """The features of a data set, on the CPU.

    Attributes:
        features: One row an image, [N, D] float32.
        rows: Index of each image in the data set, [N] int64; unreadable images are missing.
        from_cache: Whether the encoder did not have to run.
        note: Why the cache could not be read or written; empty if it could.
    """

    features: Float[Tensor, "batch dim"]
    rows: Int[Tensor, " batch"]
    from_cache: bool = False
    note: str = ""


def weights_hash(module: nn.Module) -> str:
    """Return a hash of a module's structure, parameters and buffers.

    The structure is that of `repr`, because a stride changes the features but not the weights.
    """
    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def cache_key(encoder: nn.Module, stamp: str, view: Mapping[str, Any]) -> str:
    """Return everything that decides the features: weights, files, and the steps to a tensor.

    Args:
        encoder: Its weights and structure count.
        stamp: Stamp of the files as they are now; a fingerprint may overlook an edit.
        view: How an image becomes a tensor, or a text becomes tokens.
    """
    return json.dumps([_FORMAT, weights_hash(encoder), stamp, view], sort_keys=True)


def extract(
    encoder: nn.Module,
    batches: Iterable[tuple[Inputs, Tensor]],
    *,
    device: torch.device | str,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    cache: Path | None = None,
    key: str = "",
    progress: Callable[[int, int], None] | None = None,
    total: int = 0,
    rows: str = "images",
) -> Features:
    """Return the encoder's features of all batches, from the cache when it has them.

    The encoder runs in evaluation mode; its modes are restored afterwards. A cache that is damaged
    or cannot be written costs time, never the result; `Features.note` says so.

    Args:
        encoder: Maps images [B, 3, S, S], or ids and mask of tokens, to features [B, D].
        batches: Normalised float32 images, or tokens, and their row indices; not touched on a cache
            hit.
        device: Where the encoder runs.
        precision: Arithmetic of the encoder; features are float32 in any case.
        cache: Folder of cached features; None keeps nothing.
        key: What `cache_key` returns; `precision` is added to it.
        progress: Called with the rows done and `total`.
        total: Number of rows, for `progress` alone.
        rows: The word for the rows, in errors.

    Raises:
        DataError: If there is no row.
        CheckpointError: If a feature is not finite.
    """
    run = partial(
        _run, encoder, batches, torch.device(device), precision, _counted(progress, total), rows
    )
    if cache is None:
        return run()
    if not key:
        raise ValueError("a cache needs a key")
    key = f"{key} {precision}"
    path = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.safetensors"
    found, note = _read(path, key)
    if found:
        return found
    made = run()
    return replace(made, note=_write(path, key, made) or note)


def _run(
    encoder: nn.Module,
    batches: Iterable[tuple[Inputs, Tensor]],
    device: torch.device,
    precision: str,
    count: Callable[[int], None],
    noun: str,
) -> Features:
    features, rows = [], []
    with evaluating(encoder.to(device)):
        for images, indices in batches:  # made outside autocast, which would round the views
            inputs = _moved(images, device)
            with torch.inference_mode(), autocast(device, precision):
                features.append(encoder(*inputs).float().cpu())  # [B, D]
            rows.append(indices.cpu())
            count(len(indices))
    if not features:
        raise DataError(f"there are no {noun} to embed")
    order = torch.cat(rows).argsort()  # texts come by their length
    made = Features(torch.cat(features)[order], torch.cat(rows)[order])
    need_finite(made.features, "the encoder's features", precision, noun)
    return made


def _moved(inputs: Inputs, device: torch.device) -> tuple[Tensor, ...]:
    """Return an encoder's arguments on the device, images in the layout that suits convolutions.

    The weights keep their layout, so that a training of this encoder continues bit for bit.
    """
    if not isinstance(inputs, Tensor):
        tokens = inputs.to(device)
        return tokens.ids, tokens.mask
    layout = torch.channels_last if inputs.ndim == 4 else torch.preserve_format
    return (inputs.to(device, memory_format=layout, non_blocking=True),)


def _counted(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress(done, total)

    return count


def _read(path: Path, key: str) -> tuple[Features | None, str]:
    if not path.exists():
        return None, ""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None, f"{path} belongs to other features; they were computed again"
            found = Features(file.get_tensor("features"), file.get_tensor("rows"), from_cache=True)
    except (OSError, SafetensorError) as error:
        return None, f"{path} was unreadable ({error}); features were computed again"
    return found, ""


def _write(path: Path, key: str, made: Features) -> str:
    content = {"features": made.features, "rows": made.rows}
    try:
        write_atomically(path, lambda file: save_file(content, file, {"key": key}))
    except (ResourceError, SafetensorError) as error:
        return f"{path.parent} cannot be written ({error}); features are not cached"
    return ""
