"""An open file that is read at offsets, which neither threads nor forks disturb."""

import os
from pathlib import Path
from threading import Lock


class OpenFile:
    """An open file without a position of its own; closed with the object.

    Raises:
        OSError: If the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # text is Windows'
        self.length = os.fstat(self.number).st_size
        self._alone = Lock()

    def read(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self.number, size, offset)
        with self._alone:  # without pread there are no forks either, so threads alone share it
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, size)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
