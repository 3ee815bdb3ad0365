"""Keep a whole data set decoded, as one uint8 tensor, when its images are all one size."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from sslcli.config.data import DataConfig
from sslcli.data.images.decoding import Decoding
from sslcli.data.sources.base import ArraySource, Source, Subset, digest, need
from sslcli.data.sources.index import FORMAT, cache_folder, write_whole
from sslcli.data.unreadable import Bad, refuse_empty, refuse_too_many
from sslcli.environment import core_count

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
        is_cached: Whether they were decoded from files, and lie in the cache in any case.
    """

    images: Tensor
    bad: Bad = field(default_factory=dict)
    rows: Tensor | None = None
    is_mapped: bool = False
    is_cached: bool = False

    def __len__(self) -> int:
        return len(self.images if self.rows is None else self.rows)

    def gather(self, rows: Tensor) -> Tensor:
        """Return the images of some rows, uint8 [B, 3, H, W].

        NumPy copies them as fast as one thread of torch, without waking others for 1 MB.
        """
        positions = rows if self.rows is None else self.rows[rows]
        return torch.from_numpy(self.images.numpy().take(positions.numpy(), axis=0))


@dataclass(frozen=True)
class NotPacked:
    """A data set that is decoded image by image, as training goes.

    Attributes:
        why: The reason.
        remedy: A change of settings that would let it be packed.
    """

    why: str
    remedy: str


_MIXED = NotPacked("images differ in size", "resize the images to one size, then they are packed")


def pack(
    source: Source, data: DataConfig, progress: Progress = None, machine_share: int = 1
) -> Store | NotPacked:
    """Decode a data set once and keep it.

    Up to `data.memory_budget_gib` for all processes of the machine it is held in memory, up to
    eight times that as a memory-mapped file. What was decoded lies in the cache folder, keyed by
    the stamp of the files; where that cannot be written, only what fits in memory is packed. One
    process decodes while others of the machine wait for it.

    Whether a set is packed depends on the set and the config, neither on the number of processes
    nor on how fast they are: crops of packed images are not rounded to 8 bits, and so differ.

    Args:
        source: What to decode.
        data: Budgets, workers, and how many images may be unreadable.
        progress: Called with (images decoded, images).
        machine_share: Processes of this machine that keep the images, each for itself.

    Returns:
        The store, or why there is none: decode as you go then.

    Raises:
        DataError: If the source has no images, or too many that are unreadable.
    """
    need(source, "image")
    refuse_empty(source)
    base, rows = (source.base, source.rows) if isinstance(source, Subset) else (source, None)
    budget = data.memory_budget_gib * 2**30
    store = _pack_all(base, data, progress, machine_share)
    if isinstance(store, NotPacked):
        return store
    store = _pick(store, rows, budget / machine_share)
    refuse_too_many(source, store.bad, data.max_bad_fraction)
    return store


def foresee(
    source: Source, data: DataConfig, progress: Progress = None, machine_share: int = 1
) -> Store | NotPacked:
    """Tell what `pack` would return, by a few images instead of all; images have no content.

    It takes for granted that the cache can be written, and that no image is the first of its size.
    """
    need(source, "image")
    refuse_empty(source)
    base = source.base if isinstance(source, Subset) else source
    budget = data.memory_budget_gib * 2**30
    if isinstance(base, ArraySource):
        shape, is_mapped = base.pixels.shape[1:], False
    elif len(base) > data.max_packed_images:
        return _too_many(base)
    elif (size := Decoding(base, 0).size) is None:
        return _MIXED
    else:
        shape, is_mapped = (3, *size), True
        if (refusal := _too_large(len(base) * 3 * size[0] * size[1], budget)) is not None:
            return refusal
    images = torch.empty(len(source), *shape, dtype=torch.uint8, device="meta")
    is_large = images.nbytes > budget / machine_share
    return Store(images, is_mapped=is_mapped and is_large, is_cached=is_mapped)


def _pack_all(
    source: Source, data: DataConfig, progress: Progress, machine_share: int
) -> Store | NotPacked:
    if isinstance(source, ArraySource):
        return Store(torch.from_numpy(source.pixels))
    if len(source) > data.max_packed_images:
        return _too_many(source)
    key = digest(FORMAT.encode(), source.stamp().encode())
    file = cache_folder() / "decoded" / f"{key}.npy"
    with _alone(file.with_suffix(".lock")):
        budget = data.memory_budget_gib * 2**30
        if (found := _found(file, len(source), budget)) is not None:
            return found
        count = core_count() if data.workers == "auto" else data.workers
        return _decode(Decoding(source, count, progress), file, budget, machine_share)


def _too_many(source: Source) -> NotPacked:
    why = f"{len(source):,} images are too many to decode first"
    return NotPacked(why, "raise data.max_packed_images")


def _too_large(nbytes: int, budget: float) -> NotPacked | None:
    if nbytes <= _MAPPED_LIMIT * budget:
        return None
    why = f"{nbytes / 2**30:.3g} GiB decoded exceed {_MAPPED_LIMIT} times the memory budget"
    return NotPacked(why, "raise data.memory_budget_gib")


def _decode(decoding: Decoding, file: Path, budget: float, machine_share: int) -> Store | NotPacked:
    """Decode to the cache, or to memory where there is no cache."""
    images, is_mapped = None, False
    if (refusal := _too_large(decoding.nbytes, budget)) is not None:
        return refusal
    if write_whole(file, decoding.save):
        images, is_mapped = _map(file, len(decoding.source)), True
    elif decoding.nbytes * machine_share <= budget and not decoding.is_mixed:
        images = decoding.in_memory()
    _write_note(file, decoding)
    if images is not None:
        return Store(images, decoding.bad, is_mapped=is_mapped)
    remedy = f"make room in {cache_folder()}, or let it be written"
    return _MIXED if decoding.is_mixed else NotPacked("they cannot be cached", remedy)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep other processes out until the end, if the file system has locks."""
    with ExitStack() as stack:
        with suppress(OSError):  # without a cache there is nothing to wait for
            lock.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(lock, mode=0o666))
        yield


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


def _found(file: Path, count: int, budget: float) -> Store | NotPacked | None:
    """Return the cached entry of a data set, or None without one."""
    try:
        note = json.loads(file.with_suffix(".json").read_bytes())
        bad = {int(row): why for row, why in note["bad"].items()}
        is_mixed = note["is_mixed"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    images = None if is_mixed else _map(file, count)
    if images is not None:
        return _too_large(images.nbytes, budget) or Store(images, bad, is_mapped=True)
    return _MIXED if is_mixed else None


def _write_note(file: Path, decoding: Decoding) -> None:
    note = json.dumps({"is_mixed": decoding.is_mixed, "bad": decoding.bad}).encode()
    write_whole(file.with_suffix(".json"), lambda opened: opened.write(note) > 0)
