"""Divide the time of the whole training loop by that of the method's bare forward and backward.

The loop includes reading, views, optimiser, schedule and logging; the bare pass gets views that are
made already. Both take turns in one process, and the median of the rounds' ratios counts.

    python examples/benchmarks/step.py --preset simsiam/cifar10-small simsiam/cifar10 [--json]
"""

import argparse
import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.sources.open import ArraySource
from sslcli.engine.device import autocast, pick_device, resolve_precision, tune_device
from sslcli.engine.log import Log
from sslcli.engine.loop import steps, train_step
from sslcli.listener import SilentWatcher


def random_images(count: int, size: int) -> ArraySource:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return ArraySource("random", pixels, generator.integers(0, 10, count), tuple("0123456789"))


def make(preset: str, batch: int | None):
    """Return a training of a preset on random images of its size, on this machine's device."""
    changes = {"train.batch_size": batch, "train.duration": "1000 epochs"}
    config = resolve(preset, None, {k: v for k, v in changes.items() if v}).config
    device = pick_device("auto")
    tune_device(device)
    precision, _ = resolve_precision("auto", device)
    source = random_images(40 * config.train.batch_size, config.data.image_size)
    method = assemble.build_method(config, device, assemble.facts_of(source))
    return assemble.build_training(config, method, source, device, precision)


def loop_seconds(training, batches, log, count: int) -> float:
    start = time.perf_counter()
    for index, batch in enumerate(islice(batches, count), 1):
        result = train_step(training, batch)
        log.add(training, result)
        if index == count:
            log.row(training, result)
    return time.perf_counter() - start


def bare_seconds(training, batch, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        training.optimizer.zero_grad(set_to_none=True)
        with autocast(training.device, training.precision):
            output = training.model(batch, training.progress)
        output.loss.backward()
    output.loss.item()
    return time.perf_counter() - start


def measure(preset: str, batch: int | None, count: int, rounds: int) -> dict:
    training = make(preset, batch)
    batches = steps(training)
    made = next(iter(training.loader.epoch(0)))
    ratios, loops = [], []
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder) / "metrics.jsonl", SilentWatcher())
        loop_seconds(training, batches, log, 2)
        bare_seconds(training, made, 2)
        for _ in range(rounds):
            loops.append(loop_seconds(training, batches, log, count) / count)
            ratios.append(loops[-1] / (bare_seconds(training, made, count) / count))
    size = training.config.train.batch_size
    return {
        "preset": preset,
        "batch": size,
        "precision": training.precision,
        "images_per_second": size / statistics.median(loops),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", nargs="+", default=["simsiam/cifar10-small", "simsiam/cifar10"])
    parser.add_argument("--batch", type=int, help="instead of the preset's")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rows = [measure(p, options.batch, options.steps, options.rounds) for p in options.preset]
    if options.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}))
        return
    print(f"whole loop / bare forward and backward, {torch.get_num_threads()} threads")
    print(f"{'preset':<24}{'batch':>6}{'images/s':>10}{'ratio':>8}{'lowest':>8}{'highest':>9}")
    for row in rows:
        shape = f"{row['preset']:<24}{row['batch']:6}{row['images_per_second']:10.0f}"
        print(f"{shape}{row['ratio']:8.3f}{row['lowest']:8.3f}{row['highest']:9.3f}")


if __name__ == "__main__":
    main()
