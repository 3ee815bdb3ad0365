"""Bring batches to the device while the one before is being worked on."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

Tensors = list[Tensor]


def staged(batches: Iterable[Tensors], device: torch.device) -> Iterator[Tensors]:
    """Yield each batch on `device`; on CUDA it was copied there one batch ahead.

    The copy runs from pinned memory on a stream of its own, so it overlaps the step before. The
    stream that works on a batch waits for its copy, never the host.
    """
    if device.type != "cuda":
        yield from (sent(batch, device) for batch in batches)
        return
    copies, waiting = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(copies):
            moved = sent(batch, device)
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = moved, copies.record_event()
    if waiting is not None:
        yield _arrived(*waiting)


def sent(tensors: Tensors, device: torch.device) -> Tensors:
    """Return tensors on `device`; the host does not wait for a copy to CUDA, later work does."""
    if device.type != "cuda":
        return [tensor.to(device) for tensor in tensors]
    return [_pinned(tensor).to(device, non_blocking=True) for tensor in tensors]


def _pinned(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_pinned() else tensor.pin_memory()


def _arrived(tensors: Tensors, copied: torch.cuda.Event) -> Tensors:
    stream = torch.cuda.current_stream(tensors[0].device)
    stream.wait_event(copied)
    for tensor in tensors:
        tensor.record_stream(stream)  # or the copy stream could reuse its memory too early
    return tensors
