"""Measure what a saved state costs: the save, its parts, the resume, the share of an epoch.

The save is the trainer's own. Its parts are measured one by one on the same tensors and the same
disk: a plain safetensors `save_file`, the checksums of the files, and flushing them; the rest is
making, renaming and deleting folders. They take turns with the save, and medians count; the ratio
is the time of the save over that of the plain one. An epoch is 390 steps of 128
images of simsiam/cifar10-small, reckoned from a few of them in the same process.

    python examples/benchmarks/checkpoint.py [--rounds 5] [--out FOLDER] [--json]
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from step import make

from sslcli.engine.loop import Training, steps, train_step
from sslcli.engine.trainer import resume, save
from sslcli.files import flush, sha256

EPOCH_STEPS = 390
PARTS = ("tensors", "checksums", "flush")
MIB = 2**20


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def step_seconds(preset: str, count: int) -> float:
    """Return the median time of a step, views included."""
    training = make(preset, None)
    batches = steps(training)
    for batch in islice(batches, 2):
        train_step(training, batch)
    return statistics.median(
        seconds(lambda: train_step(training, next(batches)).loss.item()) for _ in range(count)
    )


def trained(preset: str) -> Training:
    """Return a training after one step, when its optimiser has moments to save."""
    training = make(preset, 8)
    train_step(training, next(steps(training)))
    return training


def parts(run: Path, copies: Path) -> dict[str, float]:
    """Return how long a plain save of the run's newest state, its checksums and its flush take."""
    state = max((run / "state").iterdir())
    files = {file.name: load_file(file) for file in state.glob("*.safetensors")}
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    return {
        "tensors": seconds(lambda: [save_file(files[name], copies / name) for name in files]),
        "flush": seconds(lambda: [flush(copies / name) for name in files]),
        "checksums": seconds(lambda: [sha256(copies / name) for name in files]),
    }


def measure(preset: str, folder: Path, rounds: int, epoch: float) -> dict[str, object]:
    """Return the medians of `rounds` saves and resumes."""
    training, run, taken = trained(preset), folder / preset.replace("/", "-"), []
    run.mkdir()
    for _ in range(rounds + 1):  # the first warms up
        training.step += 1
        row = {"save": seconds(lambda: save(training, run, {"metrics": {}}))}
        row |= parts(run, folder / "copies")
        row["resume"] = seconds(lambda: resume(training, run))
        taken.append(row)
    median = {name: statistics.median(row[name] for row in taken[1:]) for name in taken[0]}
    size = sum(file.stat().st_size for file in max((run / "state").iterdir()).iterdir())
    return {
        "preset": preset,
        "mib": size / MIB,
        **{f"{name}_seconds": value for name, value in median.items()},
        "rest_seconds": median["save"] - sum(median[name] for name in PARTS),
        "save_mib_per_second": size / MIB / median["save"],
        "plain_mib_per_second": size / MIB / median["tensors"],
        "ratio_to_plain": median["save"] / median["tensors"],
        "share_of_epoch": median["save"] / epoch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    presets = ["simsiam/cifar10-small", "simsiam/cifar10"]
    parser.add_argument("--preset", nargs="+", default=presets, help="whose states are saved")
    parser.add_argument("--epoch-of", default="simsiam/cifar10-small", help="whose step is timed")
    parser.add_argument("--steps", type=int, default=10, help="steps to reckon an epoch from")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", help="folder on the disk to measure; else a temporary one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    epoch = EPOCH_STEPS * step_seconds(options.epoch_of, options.steps)
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        rows = [measure(name, Path(folder), options.rounds, epoch) for name in options.preset]
    if options.json:
        facts = {"threads": torch.get_num_threads(), "cores": os.cpu_count()}
        print(json.dumps({**facts, "epoch_seconds": epoch, "rows": rows}))
        return
    print(f"an epoch of {options.epoch_of}, {EPOCH_STEPS} steps: {epoch:.1f} s; times in ms")
    columns = ("save", *PARTS, "rest", "resume")
    print(f"{'state of':<22}{'MiB':>8}" + "".join(f"{name:>11}" for name in columns)
          + f"{'MiB/s':>8}{'plain':>8}{'ratio':>7}{'of epoch':>10}")  # fmt: skip
    for row in rows:
        times = "".join(f"{1000 * row[f'{name}_seconds']:11.1f}" for name in columns)
        rates = f"{row['save_mib_per_second']:8.0f}{row['plain_mib_per_second']:8.0f}"
        shares = f"{row['ratio_to_plain']:7.2f}{row['share_of_epoch']:10.3%}"
        print(f"{row['preset']:<22}{row['mib']:8.1f}{times}{rates}{shares}")


if __name__ == "__main__":
    main()
