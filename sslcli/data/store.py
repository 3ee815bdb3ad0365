"""Keep a whole data set decoded, as one uint8 tensor, when its images are all one size."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslcli.config.schema import DataConfig
from sslcli.data.bad import Bad, refuse_too_many
from sslcli.data.base import ArraySource, Sentences, Source, Subset, digest
from sslcli.data.decoding import Decoding
from sslcli.data.index import FORMAT, cache_folder, write_whole
from sslcli.data.streaming import core_count

Progress = Callable[[int, int], None] | None

_MAPPED_LIMIT = 8  # times the memory budget: the largest set that is decoded to disk


@dataclass(frozen=True)
class Store:
    """Decoded images.

    Attributes:
        images: uint8, [N, 3, H, W], or more of them when `rows` picks some.
        bad: Why a row is unreadable, by row; its image is black.
        rows: Position in `images` of each row, [N] int64; None when they are the same.
        is_mapped: Whether the images lie on disk and are read as they are used.
    """

    images: Tensor
    bad: Bad = field(default_factory=dict)
    rows: Tensor | None = None
    is_mapped: bool = False

    def __len__(self) -> int:
        return len(self.images if self.rows is None else self.rows)

    def gather(self, rows: Tensor) -> Tensor:
        """Return the images of some rows, uint8 [B, 3, H, W].

        NumPy copies them as fast as one thread of torch, without waking others for 1 MB.
        """
        positions = rows if self.rows is None else self.rows[rows]
        return torch.from_numpy(self.images.numpy().take(positions.numpy(), axis=0))


def pack(source: Source, data: DataConfig, progress: Progress = None) -> Store | None:
    """Decode a data set once and keep it.

    Up to `data.memory_budget_gib` it is held in memory, up to eight times that as a memory-mapped
    file. What was decoded lies in the cache folder, keyed by the fingerprint and the change times
    of the files; where that cannot be written, only what fits in memory is packed.

    Args:
        source: What to decode.
        data: Its `memory_budget_gib`, `workers` and `max_bad_fraction` count.
        progress: Called with (images decoded, images).

    Returns:
        The store, or None when sizes differ or there is no room: decode as you go then.

    Raises:
        DataError: If the source holds no images, or too many that are unreadable.
    """
    base, rows = (source.base, source.rows) if isinstance(source, Subset) else (source, None)
    budget = data.memory_budget_gib * 2**30
    store = _pack_all(base, budget, data.workers, progress)
    if store is None:
        return None
    store = _pick(store, rows, budget)
    refuse_too_many(source, store.bad, data.max_bad_fraction)
    return store


def _pack_all(
    source: Source, budget: float, workers: int | str, progress: Progress
) -> Store | None:
    if isinstance(source, Sentences):
        source.load(0)  # says what is wrong
    if isinstance(source, ArraySource):
        return Store(torch.from_numpy(source.pixels))
    key = digest(FORMAT.encode(), source.fingerprint.encode(), source.stamp().encode())
    file = cache_folder() / "decoded" / f"{key}.npy"
    note = _read_note(file)
    if note is not None and note["is_mixed"]:
        return None
    if note is not None and (images := _map(file, len(source))) is not None:
        return Store(images, {int(row): why for row, why in note["bad"].items()}, is_mapped=True)
    count = core_count() if isinstance(workers, str) else workers
    return _decode(Decoding(source, count, progress), file, budget)


def _decode(decoding: Decoding, file: Path, budget: float) -> Store | None:
    """Decode to the cache, or to memory where there is no cache."""
    store = None
    if decoding.nbytes > _MAPPED_LIMIT * budget:
        return None
    if write_whole(file, decoding.save):
        images = _map(file, len(decoding.source))
        store = None if images is None else Store(images, decoding.bad, is_mapped=True)
    elif decoding.nbytes <= budget and not decoding.is_mixed:
        images = decoding.in_memory()
        store = None if images is None else Store(images, decoding.bad)
    _write_note(file, decoding)
    return store


def _pick(store: Store, rows: np.ndarray | None, budget: float) -> Store:
    """Narrow a store to some rows, and take them into memory if they fit."""
    if rows is None:
        fits = store.is_mapped and store.images.nbytes <= budget
        return replace(store, images=store.images.clone(), is_mapped=False) if fits else store
    bad = {i: store.bad[row] for i, row in enumerate(rows.tolist()) if row in store.bad}
    picked = torch.from_numpy(rows)
    if len(rows) * store.images[:1].nbytes <= budget:
        return Store(replace(store, rows=None).gather(picked), bad)
    return Store(store.images, bad, picked, store.is_mapped)


def _map(file: Path, count: int) -> Tensor | None:
    try:
        pixels = np.load(file, mmap_mode="c")  # copy on write: torch has no read-only tensors
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(pixels) if pixels.shape[:2] == (count, 3) else None


def _read_note(file: Path) -> dict | None:
    try:
        note = json.loads(file.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and {"is_mixed", "bad"} <= note.keys() else None


def _write_note(file: Path, decoding: Decoding) -> None:
    note = json.dumps({"is_mixed": decoding.is_mixed, "bad": decoding.bad}).encode()
    write_whole(file.with_suffix(".json"), lambda opened: opened.write(note) > 0)
