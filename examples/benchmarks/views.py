"""Compare views per second with torchvision's Pillow pipeline on the same cores.

Both sides start from decoded 8-bit images and end with normalised float tensors. Pillow runs one
process a core, as torch's loader does, this project one process with a thread a core, set up as for
training. Each case blurs alike on both sides. They take turns, and the best round of each counts.
Beside it stands the median ratio of the rounds' processor times, which other work on the machine
disturbs less.

    python examples/benchmarks/views.py [--json]
"""

import argparse
import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision import transforms

from sslcli.config.pixels import Pixels
from sslcli.config.views import ViewConfig
from sslcli.data.images.threads import cut_evenly, share
from sslcli.data.images.views import Views
from sslcli.engine.device import tune_device

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS = Pixels(224, MEAN, STD)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "probability": 0.8}
RECIPE = {"count": 2, "crop_scale": (0.2, 1.0), "flip": 0.5, "jitter": JITTER, "grayscale": 0.2}
SMALL = ViewConfig(size=32, **RECIPE)
BLUR = {"probability": 0.5, "sigma": (0.1, 2.0)}
WINDOW = ViewConfig(size=224, blur=BLUR, **RECIPE)  # torchvision's, 23 pixels wide
PILLOW = ViewConfig(size=224, blur=BLUR | {"form": "pillow"}, **RECIPE)

STATE: dict = {}  # of a process of the Pillow side
Side = Callable[[], tuple[int, float]]  # makes views; their number, and processor seconds


def pillow_blur(image: Image.Image) -> Image.Image:
    """Blur as the official code of MoCo v2 and SimSiam, faster than torchvision's."""
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def pillow_pipeline(size: int, blur: Callable | None) -> transforms.Compose:
    steps = [
        transforms.RandomResizedCrop(size, scale=(0.2, 1.0)),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        *([transforms.RandomApply([blur], p=0.5)] if blur else []),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    return transforms.Compose(steps)


def start_pillow(pixels: np.ndarray, size: int, blur: Callable | None) -> None:
    """Prepare a process of the Pillow side."""
    torch.set_num_threads(1)
    STATE["images"] = [Image.fromarray(image) for image in pixels]
    STATE["pipeline"] = pillow_pipeline(size, blur)


def run_pillow(_: int) -> tuple[int, float]:
    return clocked(lambda: len([STATE["pipeline"](image) for image in STATE["images"]]))


def clocked(work: Callable[[], int]) -> tuple[int, float]:
    start = time.process_time()
    count = work()
    return count, time.process_time() - start


def packed_side(pixels: np.ndarray) -> Side:
    views = Views([SMALL], PIXELS, seed=0)
    batch, rows = torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.arange(len(pixels))
    batch = batch.contiguous()
    return lambda: clocked(lambda: sum(len(view) for view in views(batch, rows, epoch=0)))


def cut_side(pixels: np.ndarray, config: ViewConfig) -> Side:
    views, rows = Views([config], PIXELS, seed=0), torch.arange(len(pixels))
    crops = np.empty((2, len(pixels), 224, 224, 3), dtype=np.uint8)

    def cut(piece: slice) -> None:
        for row in range(len(pixels))[piece]:
            crops[0, row], crops[1, row] = views.cut(pixels[row], row, epoch=0)

    def run() -> int:
        share(cut, cut_evenly(len(pixels), crops[:, 0].size))
        batches = [torch.from_numpy(view).permute(0, 3, 1, 2) for view in crops]
        return sum(len(view) for view in views.finish(batches, rows, epoch=0))

    return lambda: clocked(run)


def rates(side: Side, times: int) -> tuple[float, float]:
    """Return the best views per second of the clock, and the median per processor second."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        count, seconds = side()
        found.append((count / (time.perf_counter() - start), count / seconds))
    clock, processor = zip(*found, strict=True)
    return max(clock), statistics.median(processor)


def compare(case: str, job: tuple, ours: Side, threads: int, rounds: int) -> dict:
    """Let both sides take turns; `job` is what `start_pillow` takes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(threads, context, start_pillow, job) as pool:

        def pillow() -> tuple[int, float]:
            counts, seconds = zip(*pool.map(run_pillow, range(threads)), strict=True)
            return sum(counts), sum(seconds)

        pillow(), ours()
        found = [(rates(pillow, 1), rates(ours, 4)) for _ in range(rounds)]
    theirs, mine = (max(side[0] for side in sides) for sides in zip(*found, strict=True))
    processor = statistics.median(own[1] / other[1] for other, own in found)
    ratios = {"ratio": mine / theirs, "ratio_of_processor_time": processor}
    return {"case": case, "pillow": theirs, "ours": mine, **ratios}


def measure(threads: int, rounds: int) -> list[dict]:
    torch.set_num_threads(threads)
    tune_device(torch.device("cpu"))
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (512, 32, 32, 3), dtype=np.uint8)
    large = generator.integers(0, 256, (32, 256, 320, 3), dtype=np.uint8)
    slow_blur = transforms.GaussianBlur(23, (0.1, 2.0))
    window, boxes = cut_side(large, WINDOW), cut_side(large, PILLOW)
    return [
        compare("32 px", (small, 32, None), packed_side(small), threads, rounds),
        compare("224 px", (large, 224, slow_blur), window, threads, rounds),
        compare("224 px, PIL blur", (large, 224, pillow_blur), boxes, threads, rounds),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    results = measure(options.threads, options.rounds)
    if options.json:
        print(json.dumps({"threads": options.threads, "rows": results}))
        return
    print(f"{'views per second':18}{'Pillow':>10}{'ours':>10}{'ratio':>8}{'processor':>12}")
    for row in results:
        speeds = f"{row['pillow']:10.0f}{row['ours']:10.0f}{row['ratio']:8.1f}"
        print(f"{row['case']:18}{speeds}{row['ratio_of_processor_time']:12.1f}")


if __name__ == "__main__":
    main()
