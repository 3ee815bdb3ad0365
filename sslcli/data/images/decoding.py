"""Decode every image of a source in order, as long as all are one size."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslcli.data.sources.base import Source
from sslcli.data.streaming import Stream
from sslcli.data.unreadable import Bad, reason
from sslcli.errors import DataError

Progress = Callable[[int, int], None] | None

_CHUNK = 256  # images a worker decodes at a time
_FEW = 2048  # images that are decoded sooner than workers start
_PROBES = 16  # images whose sizes are compared before all are decoded


class Decoding:
    """Yield the images in chunks, uint8 [n, 3, H, W]; unreadable ones are black.

    Args:
        source: What to decode.
        workers: Processes that decode.
        progress: Called with (images decoded, images).

    Attributes:
        size: Height and width of the images; None when a few probes differ.
        is_mixed: Whether sizes differ; chunks end where that is found.
        bad: Rows found unreadable so far, each with the reason.
    """

    def __init__(self, source: Source, workers: int, progress: Progress = None) -> None:
        self.source, self.progress, self.bad = source, progress, Bad()
        self.workers = workers if len(source) > _FEW else 0
        self.size = _common_size(source)
        self.is_mixed = self.size is None

    @property
    def nbytes(self) -> int:
        """Bytes of all images, decoded."""
        height, width = self.size or (0, 0)
        return len(self.source) * 3 * height * width

    def __iter__(self) -> Iterator[Tensor]:
        if self.size is None:
            return
        n, done = len(self.source), 0
        chunks = [range(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK)]
        for images, bad in Stream(_Chunks(self.source, self.size), self.workers).over(chunks):
            self.bad |= bad
            if images is None:
                self.is_mixed = True
                return
            yield images
            done += len(images)
            if self.progress is not None:
                self.progress(done, n)

    def in_memory(self) -> Tensor | None:
        """Return all images, [N, 3, H, W]; None when sizes differ."""
        images, done = (
            torch.empty(len(self.source), 3, *(self.size or (0, 0)), dtype=torch.uint8),
            0,
        )
        for chunk in self:
            images[done : done + len(chunk)] = chunk
            done += len(chunk)
        return None if self.is_mixed else images

    def save(self, file: BinaryIO) -> bool:
        """Write all images as one `.npy`; return False when sizes differ."""
        if self.size is None:
            return False
        header = {
            "descr": "|u1",
            "fortran_order": False,
            "shape": (len(self.source), 3, *self.size),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for images in self:
            file.write(images.numpy().data)
        return not self.is_mixed


class _Chunks(Dataset):
    def __init__(self, source: Source, size: tuple[int, int]) -> None:
        self.source, self.size = source, size

    def __getitem__(self, rows: range) -> tuple[Tensor | None, Bad]:
        images, bad = np.zeros((len(rows), 3, *self.size), dtype=np.uint8), Bad()
        for i, row in enumerate(rows):
            try:
                image = self.source.load(row)
            except DataError as error:
                bad[row] = reason(error)
                continue
            if image.shape[:2] != self.size:
                return None, bad
            images[i] = image.transpose(2, 0, 1)
        return torch.from_numpy(images), bad


def _common_size(source: Source) -> tuple[int, int] | None:
    """Return the size that spread-out images share; None when they differ or none is readable."""
    sizes = set()
    for row in np.linspace(0, len(source) - 1, _PROBES).astype(int).tolist():
        try:
            sizes.add(source.load(row).shape[:2])
        except DataError:
            continue
    return sizes.pop() if len(sizes) == 1 else None
