"""Time out-of-distribution detection beyond feature extraction: all scores of features.

Random features and labels stand for an encoder's, so no image is touched. The time holds fitting
and tuning on training features, scoring the inside and the outside set, every metric and its
bootstrap intervals. ODIN and the scores of a density are left out: they run the network again.

    python examples/benchmarks/ood.py [--train 50000] [--test 10000] [--dim 512] [--json]
"""

import argparse
import json
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.evaluate.ood import SCORES, Known, Seen
from sslcli.evaluate.ood.bootstrap import Bootstrap
from sslcli.evaluate.ood.detect import fit_scores, measure, validation_rows

CLASSES = 10


@dataclass(frozen=True)
class Task:
    """Features of a training, an inside, an outside and a pseudo-outlier set."""

    known: Known
    inside: Seen
    outside: Seen
    pseudo: Seen


def make_task(train: int, test: int, dim: int) -> Task:
    """Draw overlapping clusters, correlated and rectified as an encoder's last layer is."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, dim, generator=generator)
    spectrum = torch.arange(1, dim + 1).pow(-0.5)
    mixing = spectrum[:, None] * torch.randn(dim, dim, generator=generator)
    classifier = nn.Linear(dim, CLASSES).requires_grad_(False)

    def see(count: int, spread: float) -> Seen:
        labels = torch.randint(CLASSES, (count,), generator=generator)
        hidden = spread * centres[labels] + torch.randn(count, dim, generator=generator)
        features = functional.relu(hidden @ mixing + 0.5)
        return Seen(features, None, labels, _no_images).with_features(features, classifier)

    seen = see(train, 1.0)
    is_held = torch.from_numpy(np.isin(np.arange(train), validation_rows(train, seed=0)))
    parts = (seen.pick(chosen, _no_images) for chosen in (~is_held, is_held))
    known = Known(*parts, nn.Identity(), classifier, (1.0, 1.0, 1.0))
    return Task(known, see(test, 1.0), see(test, 0.5), see(int(is_held.sum()), 0.0))


def _no_images(module: nn.Module) -> Tensor:
    raise AssertionError("the features are random: there are no images to run a network on")


def timed(task: Task, score: str, bootstrap: Bootstrap) -> dict[str, float | str]:
    """Run one score from fitting to intervals."""
    wanted = [each for each in SCORES if each.name == score]
    clock = [time.perf_counter()]
    (fitted,), _ = fit_scores(wanted, task.known, task.pseudo, named=True)
    clock.append(time.perf_counter())
    values = fitted.run(task.inside), fitted.run(task.outside)
    clock.append(time.perf_counter())
    (row,) = measure({score: values}, "random", bootstrap)
    clock.append(time.perf_counter())
    fit, run, measured = np.diff(clock).tolist()
    return {
        "score": score,
        "fit": fit,
        "run": run,
        "measure": measured,
        "auroc": row.values["auroc"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=50_000)
    parser.add_argument("--test", type=int, default=10_000, help="of the inside and of the outside")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    task = make_task(options.train, options.test, options.dim)
    start = time.perf_counter()
    bootstrap = Bootstrap(options.test, options.test, seed=0)
    drawing = time.perf_counter() - start
    wanted = [s.name for s in SCORES if s.name != "odin" and not s.why_not(task.known)]
    rows = [timed(task, name, bootstrap) for name in wanted]
    total = time.perf_counter() - start
    if options.json:
        threads = torch.get_num_threads()
        print(json.dumps({**vars(options), "threads": threads, "seconds": total, "rows": rows}))
        return
    sizes = f"{options.test:,} + {options.test:,} images, {options.train:,} training"
    print(f"{sizes}, {options.dim} dims, {CLASSES} classes, {torch.get_num_threads()} threads")
    print(f"{'score':<22}{'fit s':>8}{'run s':>8}{'measure s':>11}{'AUROC':>8}")
    for row in rows:
        times = f"{row['fit']:8.2f}{row['run']:8.2f}{row['measure']:11.2f}"
        print(f"{row['score']:<22}{times}{row['auroc']:8.3f}")
    print(f"resamples drawn in {drawing:.2f} s; all in {total:.1f} s")


if __name__ == "__main__":
    main()
