"""Measure the memory of a training: above the interpreter with torch, and from epoch to epoch.

Trains SimSiam on random images of one size in this process and reads the resident set after each
epoch, and its peak. The ratio is to the interpreter with torch.

    python examples/benchmarks/memory.py [--images 50000] [--epochs 3] [--json]
"""

import argparse
import json
import resource
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.sources.open import ArraySource
from sslcli.engine.loop import steps, train_step

MIB = 2**20


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--encoder", default="resnet8", help="small, so that an epoch is short")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.randn(8, 8).sum()
    before = resident()

    changes = {"encoder.name": options.encoder, "encoder.width": 8, "train.batch_size": 512}
    config = resolve("simsiam/cifar10-small", None, changes).config
    device = torch.device("cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (options.images, 3, 32, 32), dtype=np.uint8)
    source = ArraySource("random", pixels)
    del pixels
    method = assemble.build_method(config, device)
    training = assemble.build_training(config, method, source, device, "bf16")
    batches, after = steps(training), []
    for _ in range(options.epochs):
        for batch in islice(batches, training.steps_per_epoch):
            train_step(training, batch)
        after.append(resident() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    if options.json:
        facts = {"before": before, "after_epochs": after, "peak": peak}
        print(json.dumps({**facts, "growth": after[-1] / after[0]}))
        return
    print(f"{'MiB above python with torch':<30}{'':>8}{'ratio':>8}")
    print(f"{'python with torch itself':<30}{before:8.0f}{1:8.2f}")
    for epoch, extra in enumerate(after, 1):
        print(f"{f'after epoch {epoch}':<30}{extra:8.0f}{extra / before:8.2f}")
    print(f"{'at the peak':<30}{peak:8.0f}{peak / before:8.2f}")


if __name__ == "__main__":
    main()
