"""A million tar members: the first batch within a minute, no process above 1 GB."""

import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

COUNT, DISTINCT, CLASSES = 1_000_000, 40, 100
BATCHES, BATCH_SIZE = 200, 256

CHILD = """
import json, multiprocessing, re, sys, time
from itertools import islice
from sslcli.config.data import DataConfig
from sslcli.config.views import ViewConfig
from sslcli.data.loader import TrainLoader
from sslcli.data.sources.splits import open_splits
from sslcli.data.images.views import Views

def peak(process):
    status = open(f"/proc/{process}/status").read()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024

path, batches, batch_size = sys.argv[1], *map(int, sys.argv[2:])
stats = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
data = DataConfig(source=path, image_size=8, workers=2, **stats)
source = open_splits(data).train
views = Views([ViewConfig(count=2, size=8, crop_scale=(0.3, 1), flip=0.5)], data.pixels, 0)
loader = TrainLoader(
    source, data, views, batch_size=batch_size, seed=0, device="cpu", drop_last=True
)
epoch = loader.epoch(0)
rows = next(epoch).rows.tolist()
first = time.time()
for batch in islice(epoch, batches - 1):
    rows += batch.rows.tolist()
workers = [peak(child.pid) for child in multiprocessing.active_children()]
print(json.dumps({"images": len(source), "seen": len(set(rows)), "mode": loader.mode,
                  "first": first, "main": peak("self"), "workers": workers}))
"""


def digits(numbers, count, base):
    """Return the last digits of numbers as ASCII, [N, count] uint8."""
    return (numbers[:, None] // base ** np.arange(count)[::-1] % base + ord("0")).astype(np.uint8)


def member(seed, side):
    """Return a header without name and sum, and the image of a seed: 1024 bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    image = io.BytesIO()
    Image.fromarray(pixels).save(image, "PNG")
    header = bytearray(512)
    header[:14], header[100:108] = b"00/0000000.png", b"0000644\0"
    header[124:136], header[148:156] = b"%011o\0" % image.tell(), b" " * 8
    header[156:157], header[257:265] = b"0", b"ustar\x0000"
    return bytes(header) + image.getvalue().ljust(512, b"\0")


def write_million(path, sides):
    """Write an archive of 1.02 GB from a few images, whose sides in pixels take turns."""
    members = [member(seed, sides[seed % len(sides)]) for seed in range(DISTINCT)]
    blocks = np.frombuffer(b"".join(members), dtype=np.uint8).reshape(DISTINCT, 1024)
    with open(path, "wb") as file:
        for rows in np.split(np.arange(COUNT), 100):
            part = blocks[rows % DISTINCT]
            part[:, 0:2], part[:, 3:10] = digits(rows % CLASSES, 2, 10), digits(rows, 7, 10)
            sums = part[:, :512].sum(axis=1, dtype=np.int64)
            part[:, 148:154], part[:, 154] = digits(sums, 6, 8), 0
            file.write(part.data)
        file.write(bytes(1024))


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(8,), (8, 9, 10, 11, 12)], ids=["one size", "several sizes"])
def test_epoch_over_a_million_members_starts_soon_and_stays_small(tmp_path, cache, sides):
    write_million(tmp_path / "million.tar", sides)
    command = [sys.executable, "-c", CHILD, tmp_path / "million.tar", BATCHES, BATCH_SIZE]
    began = time.time()
    child = subprocess.run(
        list(map(str, command)), env=os.environ, capture_output=True, text=True, check=True
    )
    found = json.loads(child.stdout)
    print(f"first batch after {found['first'] - began:.1f} s", found)
    assert found["images"] == 0.8 * COUNT
    assert found["seen"] == BATCHES * BATCH_SIZE
    assert found["first"] - began < 60
    assert len(found["workers"]) == 2
    assert max(found["main"], *found["workers"]) < 10**9
    assert found["mode"] == "streamed (1,000,000 images are too many to decode first)"
