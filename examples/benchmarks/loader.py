"""Measure images per second of the loader alone: no views, no training.

Every way reads the same images in batches of 256 in shuffled order: torchvision's ImageFolder in a
DataLoader first, then a folder and an archive through workers, a memory-mapped store and one in
memory. They take turns, and the best round of each counts, so that other work on the machine
disturbs the ratios little. With SSL_DATA set the images are CIFAR-10's test set, otherwise they
are generated.

    python examples/benchmarks/loader.py [--images 10000] [--rounds 3] [--workers 2] [--json]
"""

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2.functional import pil_to_tensor

from sslcli.config.data import DataConfig
from sslcli.config.pixels import Pixels
from sslcli.data.images.views import Views
from sslcli.data.loader import TrainLoader
from sslcli.data.sources.open import open_source

BATCH = 256
SIZE = 32


class Untouched(Views):
    """Leave the images as they are."""

    def __init__(self) -> None:
        super().__init__((), Pixels(SIZE, (0.5,) * 3, (0.25,) * 3), seed=0)
        self.num_views = 1

    def __call__(self, images, rows, epoch):
        return [images]

    def cut(self, image, row, epoch):
        return [image]

    def finish(self, crops, rows, epoch):
        return list(crops)


def generated(count: int) -> Iterable[bytes]:
    generator = np.random.default_rng(0)
    for _ in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((SIZE, SIZE)).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue()


def real(count: int) -> Iterable[bytes]:
    source = open_source(os.environ["SSL_DATA"] + "/cifar10/test.tar", part=None)
    return (source.read(row) for row in range(min(count, len(source))))


def write(root: Path, encoded: Iterable[bytes]) -> None:
    """Write the images as a folder of classes and as an archive."""
    for row, data in enumerate(encoded):
        path = root / "folder" / str(row % 10) / f"{row:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with tarfile.open(root / "images.tar", "w") as archive:
        archive.add(root / "folder", "images")


def ours(path: Path, budget: float, workers: int) -> tuple[str, Callable[[int], int]]:
    """Return the loader's mode and a function that runs one epoch of it."""
    data = DataConfig(
        image_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3,
        memory_budget_gib=budget / 2**30, workers=workers,
    )  # fmt: skip
    loader = TrainLoader(
        open_source(str(path), part=None), data, Untouched(),
        batch_size=BATCH, seed=0, device="cpu", drop_last=False,
    )  # fmt: skip
    mode = loader.mode.split(" (")[0]
    return mode, lambda epoch: sum(len(batch) for batch in loader.epoch(epoch))


def torchvision(path: Path, workers: int) -> Callable[[int], int]:
    data = ImageFolder(str(path), pil_to_tensor)
    loader = DataLoader(
        data, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda epoch: sum(len(images) for images, _ in loader)


def measure(root: Path, workers: int, rounds: int) -> dict[str, float]:
    """Return the images per second of each way, best of the rounds."""
    folder, archive = root / "folder", root / "images.tar"
    size = sum(1 for _ in folder.glob("*/*")) * 3 * SIZE * SIZE
    ways = {"torchvision ImageFolder": torchvision(folder, workers)}
    budgets = {"streamed": 1, "memory-mapped": size / 4, "packed": size}
    for name, path, kind in (
        ("folder", folder, "streamed"),
        ("tar", archive, "streamed"),
        ("tar", archive, "memory-mapped"),
        ("tar", archive, "packed"),
    ):
        mode, way = ours(path, budgets[kind], workers)
        ways[f"{name}, {mode}"] = way
    best = dict.fromkeys(ways, 0.0)
    for epoch in range(rounds + 1):  # the first warms up: workers start, files are cached
        for name, way in ways.items():
            start = time.perf_counter()
            images = way(epoch)
            if epoch:
                best[name] = max(best[name], images / (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSL_CACHE"] = f"{folder}/cache"
        write(Path(folder), (real if "SSL_DATA" in os.environ else generated)(options.images))
        rates = measure(Path(folder), options.workers, options.rounds)
    first = next(iter(rates.values()))
    if options.json:
        rows = [{"way": n, "images_per_second": r, "ratio": r / first} for n, r in rates.items()]
        print(
            json.dumps(
                {"threads": torch.get_num_threads(), "workers": options.workers, "rows": rows}
            )
        )
        return
    print(f"{'way':32}{'images/s':>12}{'ratio':>10}")
    for name, rate in rates.items():
        print(f"{name:32}{rate:12,.0f}{rate / first:10.1f}")


if __name__ == "__main__":
    main()
