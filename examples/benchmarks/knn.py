"""Compare weighted kNN with a plain torch matmul and topk on the same cores.

All sides classify the same clustered features by the same vote. They take turns, and the best
round of each counts, so that other work on the machine disturbs the ratio little. "processor" is
the ratio of processor time, which other work disturbs less; of several threads it counts also the
waiting for each other.

    python examples/benchmarks/knn.py [--train 50000] [--test 2000] [--dim 256] [--json]
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sslcli.evaluate.knn import evaluate_knn

CLASSES, K, TEMPERATURE = 10, 200, 0.1


@dataclass(frozen=True)
class Task:
    """Features and classes of a training and a test set."""

    train: Tensor
    labels: Tensor
    test: Tensor
    right: Tensor


def make_task(train: int, test: int, dim: int) -> Task:
    """Draw overlapping clusters, correlate and rectify them as an encoder's last layer does."""
    generator = torch.Generator().manual_seed(0)
    centres = 0.2 * torch.randn(CLASSES, dim, generator=generator)
    labels = torch.randint(CLASSES, (train + test,), generator=generator)
    hidden = centres[labels] + torch.randn(train + test, dim, generator=generator)
    spectrum = torch.arange(1, dim + 1).pow(-1.0)
    mixing = spectrum[:, None] * torch.randn(dim, dim, generator=generator)
    features = functional.relu(hidden @ mixing + 0.5)
    return Task(features[:train], labels[:train], features[train:], labels[train:])


def plain_torch(task: Task) -> dict[str, float]:
    """Classify as most repositories do: a block of similarities, topk, exp, scatter."""
    train, hits = functional.normalize(task.train), 0
    for test, right in zip(task.test.split(512), task.right.split(512), strict=True):
        cosine, rows = (functional.normalize(test) @ train.T).topk(K)
        votes = torch.zeros(len(test), CLASSES)
        votes.scatter_add_(1, task.labels[rows], (cosine / TEMPERATURE).exp())
        hits += int((votes.argmax(1) == right).sum())
    return {"top1": hits / len(task.test)}


def ours(task: Task) -> dict[str, float]:
    found = evaluate_knn(
        task.train, task.labels, task.test, task.right,
        k=K, temperature=TEMPERATURE, num_classes=CLASSES,
    )  # fmt: skip
    return {"top1": found.top1}


def compare(sides: dict[str, Callable[[], dict[str, float]]], rounds: int) -> list[dict]:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    results = {}
    for _ in range(rounds):
        for name, run in sides.items():
            start, used = time.perf_counter(), time.process_time()
            results[name] = run()
            seconds[name].append((time.perf_counter() - start, time.process_time() - used))
    best = {name: tuple(map(min, zip(*taken, strict=True))) for name, taken in seconds.items()}
    slow, busy = best["torch topk"]
    return [
        {"side": name, **results[name], "seconds": wall, "times_as_fast": slow / wall,
         "processor_seconds": own, "processor": busy / own}
        for name, (wall, own) in best.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=50_000)
    parser.add_argument("--test", type=int, default=2_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    task = make_task(options.train, options.test, options.dim)
    rows = compare(
        {"torch topk": lambda: plain_torch(task), "ssl": lambda: ours(task)}, options.rounds
    )
    if options.json:
        print(json.dumps({**vars(options), "threads": torch.get_num_threads(), "rows": rows}))
        return
    print(f"{options.test:,} queries, {options.train:,} neighbours, {options.dim} dims, k={K}")
    print(f"{'side':<12}{'seconds':>9}{'ratio':>8}{'processor':>11}{'top1':>8}")
    for row in rows:
        speed = f"{row['seconds']:9.3f}{row['times_as_fast']:7.2f}x{row['processor']:10.2f}x"
        print(f"{row['side']:<12}{speed}{row['top1']:8.4f}")


if __name__ == "__main__":
    main()
