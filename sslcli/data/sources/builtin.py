"""Data sets known by name: those made of scikit-learn's digits, and torchvision's below a root."""

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sslcli.data.sources.base import PART_CODES, ArraySource, Source
from sslcli.errors import DataError


@dataclass(frozen=True)
class Builtin:
    """A data set known by name.

    Attributes:
        name: What `--data` takes.
        about: What it is, in a line.
        present: Whether it can be used without a download.
    """

    name: str
    about: str
    present: bool


@dataclass(frozen=True)
class _Torchvision:
    """One of torchvision's classes: its arguments, and the place of its files."""

    kind: str
    about: str
    folder: str
    train: dict[str, Any]
    test: dict[str, Any]


_BY_FLAG = {"train": {"train": True}, "test": {"train": False}}
_BY_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
_SETS = {
    "cifar10": _Torchvision(
        "CIFAR10", "60,000 photos, 32 px, 10 classes", "cifar-10-batches-py", **_BY_FLAG
    ),
    "cifar100": _Torchvision(
        "CIFAR100", "60,000 photos, 32 px, 100 classes", "cifar-100-python", **_BY_FLAG
    ),
    "stl10": _Torchvision(
        "STL10", "13,000 labelled photos, 96 px, 10 classes", "stl10_binary", **_BY_SPLIT
    ),
    "svhn": _Torchvision(
        "SVHN", "99,289 house numbers, 32 px, 10 digits", "train_32x32.mat", **_BY_SPLIT
    ),
    "mnist": _Torchvision(
        "MNIST", "70,000 handwritten digits, 28 px", "MNIST/raw", **_BY_FLAG
    ),
    "fashion-mnist": _Torchvision(
        "FashionMNIST", "70,000 garments, 28 px, 10 classes", "FashionMNIST/raw", **_BY_FLAG
    ),
}  # fmt: skip
OFFLINE = {
    "digits": "1,797 handwritten digits, 8 px",
    "scenes": "6,833 pictures of one of those each, 32 px, grey, with captions",
    "scenes-colour": "the same pictures in hues, with captions",
    "phrases": "7,500 pairs of sentences about two digits, with a graded similarity",
}
NAMES = (*OFFLINE, *_SETS)


def available(root: str | Path) -> list[Builtin]:
    """Return every built-in data set and whether it lies below `root` already."""
    made = [Builtin(name, f"{about}, offline", present=True) for name, about in OFFLINE.items()]
    rest = [Builtin(n, s.about, (Path(root) / s.folder).exists()) for n, s in _SETS.items()]
    return [*made, *rest]


def open_builtin(name: str, root: str | Path, download: bool = False) -> Source:
    """Open a data set by its name, train and test parts together.

    Raises:
        DataError: If its files are missing or damaged, or cannot be downloaded.
    """
    if name == "digits":
        return _digits()
    if name in ("scenes", "scenes-colour"):
        from sslcli.data.sources.scenes import Scenes  # noqa: PLC0415  torch, to draw them alone

        return Scenes(name, _digits())
    if name == "phrases":
        from sslcli.data.sources.phrases import Phrases  # noqa: PLC0415  as above

        return Phrases()
    return _torchvision(name, Path(root), download)


def _digits() -> ArraySource:
    """Return the 8 x 8 digits; every fifth of a class is test data, whatever the seed."""
    table = np.loadtxt(_digits_file(), delimiter=",", dtype=np.int64)  # [1797, 64 pixels + label]
    grey = (table[:, :64] * 255 + 8) // 16  # 0..16 to 0..255, rounded
    pixels = np.repeat(grey.astype(np.uint8).reshape(-1, 1, 8, 8), 3, axis=1)
    labels = table[:, 64]
    parts = np.full(len(labels), PART_CODES["train"], dtype=np.int8)
    for label in range(10):
        parts[np.flatnonzero(labels == label)[4::5]] = PART_CODES["test"]
    return ArraySource("digits", pixels, labels, tuple("0123456789"), parts)


def _digits_file() -> Path:
    """Return scikit-learn's own file; importing scikit-learn to read it would take a second."""
    package = importlib.util.find_spec("sklearn")
    origin = package and package.origin
    assert origin, "scikit-learn is a dependency"
    return Path(origin).parent / "datasets" / "data" / "digits.csv.gz"


def _torchvision(name: str, root: Path, download: bool) -> ArraySource:
    wanted = _SETS[name]
    kind = getattr(importlib.import_module("torchvision.datasets"), wanted.kind)
    with _faults(name, root):
        loaded = [kind(str(root), download=download, **how) for how in (wanted.train, wanted.test)]
    pixels = np.concatenate([_pixels(part.data) for part in loaded])
    labels = [
        np.asarray(getattr(part, "targets", getattr(part, "labels", None))) for part in loaded
    ]
    parts = np.repeat(np.array(list(PART_CODES.values()), dtype=np.int8), list(map(len, labels)))
    names = tuple(getattr(loaded[0], "classes", "0123456789"))
    return ArraySource(name, pixels, np.concatenate(labels).astype(np.int64), names, parts)


def _pixels(data: Any) -> np.ndarray:
    """Bring one of torchvision's layouts to [N, 3, H, W]: grey, channels last or channels first."""
    array = np.asarray(data)
    if array.ndim == 3:
        return np.repeat(array[:, None], 3, axis=1)
    return array if array.shape[1] == 3 else array.transpose(0, 3, 1, 2)


@contextlib.contextmanager
def _faults(name: str, root: Path) -> Iterator[None]:
    """Turn what torchvision raises into DataError, and keep what it prints off stdout."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except (RuntimeError, OSError, EOFError) as error:
        what = f"{name} is not below the data root or is damaged"
        hint = "add `download` to fetch it, or point `data_root` to the folder that holds it"
        raise DataError(f"{what}: {str(error).splitlines()[0]}", str(root), hint) from error
