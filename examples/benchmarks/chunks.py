"""Measure what `--chunk-size` saves: the peak memory of a step, and what the step then costs.

Each way runs in a process of its own, in float32 on random images; memory is the peak above what
the process held before the step, time is processor time of the second step.

    python examples/benchmarks/chunks.py [--preset simclr/cifar10-small] [--batch 1024] [--json]
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from memory import resident

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.sources.open import ArraySource
from sslcli.engine.loop import steps, train_step


def measure(preset: str, batch: int, chunk: int | None) -> dict[str, float]:
    """Make two steps in this process; return its peak in MiB and the second step's seconds."""
    changes = {"train.batch_size": batch, "train.chunk_size": chunk, "train.duration": "9 epochs"}
    config = resolve(preset, None, changes).config
    side = config.data.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 3, side, side), dtype=np.uint8)
    source, device = ArraySource("random", pixels), torch.device("cpu")
    method = assemble.build_method(config, device, assemble.facts_of(source))
    training = assemble.build_training(config, method, source, device, "fp32")
    batches = list(next(steps(training)))  # made before, so that views do not count
    before = resident()
    train_step(training, batches)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    start = time.process_time()
    train_step(training, batches)
    return {"mebibytes": peak, "seconds": time.process_time() - start}


def alone(options: argparse.Namespace, chunk: int) -> dict[str, float]:
    """Measure one way in a process of its own."""
    words = ["--preset", options.preset, "--batch", str(options.batch), "--only", str(chunk)]
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="simclr/cifar10-small")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--only", type=int, help="measure one chunk size, 0 for none, and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.only is not None:
        print(json.dumps(measure(options.preset, options.batch, options.only or None)))
        return
    ways = {"whole": alone(options, 0), "chunks": alone(options, options.chunk)}
    whole = ways["whole"]
    for way in ways.values():
        way |= {f"ratio_{name}": way[name] / whole[name] for name in ("mebibytes", "seconds")}
    if options.json:
        print(json.dumps(ways))
        return
    print(f"{options.preset}, batch {options.batch}, chunks of {options.chunk}")
    print(f"{'way':<10}{'MiB':>8}{'ratio':>8}{'CPU s':>8}{'ratio':>8}")
    for name, way in ways.items():
        memory = f"{name:<10}{way['mebibytes']:8.0f}{way['ratio_mebibytes']:8.2f}"
        print(f"{memory}{way['seconds']:8.2f}{way['ratio_seconds']:8.2f}")


if __name__ == "__main__":
    main()
