"""Measure what training together costs: two processes against two that know nothing of each other.

Each process has one thread, and trains the preset's encoder on random images of its size with
`--batch` images a step. Rounds alternate: a few steps together (synchronised BatchNorm, gradients
averaged, stops voted on), then as many by itself, both processes at once. The ratio is images per
second together over the sum of what both reach apart, within one round.

    python examples/benchmarks/processes.py [--preset simsiam/cifar10-small] [--batch 128]
        [--steps 8] [--rounds 7] [--processes 2] [--json]
"""

import argparse
import json
import os
import socket
import statistics
import time
from itertools import islice
from multiprocessing import get_context

import numpy as np
import torch

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.sources.base import ArraySource
from sslcli.distributed import collective, launch
from sslcli.engine.device import resolve_precision, tune_device
from sslcli.engine.loop import Training, steps, train_step
from sslcli.environment import world

CPU = torch.device("cpu")


def make(preset: str, batch: int) -> Training:
    """Return a training on random images; of all processes that have joined by now."""
    fields = {"train.batch_size": batch, "train.duration": "1000 epochs"}
    config = resolve(preset, None, fields).config
    size, generator = config.data.image_size, np.random.default_rng(0)
    pixels = generator.integers(0, 256, (20 * batch, 3, size, size), dtype=np.uint8)
    method = assemble.build_method(config)
    precision, _ = resolve_precision("auto", CPU)
    return assemble.build_training(
        config, method, ArraySource("random", pixels, None), CPU, precision
    )


def seconds(training: Training, batches, count: int, ballot=None) -> float:
    """Time some steps of this process."""
    start = time.perf_counter()
    for step in islice(batches, count):
        train_step(training, step)
        if ballot:
            ballot(0)
    return time.perf_counter() - start


def work(rank: int, port: int, options: argparse.Namespace, results) -> None:
    """Measure as one of the processes; the first one hands in all rounds' rates."""
    torch.set_num_threads(1)
    tune_device(CPU)
    apart = make(options.preset, options.batch)
    size = options.processes
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in here.items()})
    os.environ.update({"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)})
    with launch.joined(world(), CPU):
        together = make(options.preset, options.batch * size)
        ballot, rounds = collective.Ballot(), []
        joint, alone = steps(together), steps(apart)
        for number in range(options.rounds + 1):
            collective.wait()
            joined = seconds(together, joint, options.steps, ballot)
            collective.wait()
            own = seconds(apart, alone, options.steps)
            images, all_own = options.steps * options.batch, collective.from_all(own)
            rate = images * size / max(collective.from_all(joined))
            if number:  # the first round warms up
                rounds.append((rate, sum(images / each for each in all_own)))
        if rank == 0:
            results.put(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="simsiam/cifar10-small")
    parser.add_argument("--batch", type=int, default=128, help="images of a step and process")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(target=work, args=(rank, port, options, results), daemon=True)
        for rank in range(options.processes)
    ]
    for process in workers:
        process.start()
    rounds = results.get()
    for process in workers:
        process.join()
    ratios = [together / apart for together, apart in rounds]
    row = {
        "preset": options.preset,
        "processes": options.processes,
        "batch": options.batch,
        "together_images_per_second": statistics.median(rate for rate, _ in rounds),
        "apart_images_per_second": statistics.median(rate for _, rate in rounds),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }
    if options.json:
        print(json.dumps({"rows": [row]}))
        return
    print(f"{'preset':<24} {'together':>12} {'apart':>12} {'ratio':>7}   lowest to highest")
    rates = f"{row['together_images_per_second']:12.0f} {row['apart_images_per_second']:12.0f}"
    spread = f"{row['lowest']:.3f} to {row['highest']:.3f}"
    print(f"{row['preset']:<24} {rates} {row['ratio']:7.3f}   {spread}   (images/s)")


if __name__ == "__main__":
    main()
