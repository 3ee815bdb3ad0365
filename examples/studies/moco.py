"""Show what MoCo's momentum and queue are for (He et al. 2020, section 4.1 and figure 3).

Trains one preset with four momenta of the key encoder, and with queues from one batch up, and
measures kNN on the test images. What is finished is not done again, and a run that was stopped
goes on.

Seen on moco-v1/digits (seed 0, 355 test images): a momentum of 0 ends below the untrained encoder
(92.4 against 94.6 %), 0.9 has 96.1, 0.99 has 98.9 and 0.999 98.6 %, too slow for 660 steps by its
loss. The queue hardly matters there: 98.3, 98.6, 98.9 and 98.0 % at 128, 256, 1024 and 4096 keys,
within the noise, and the last holds keys of every image.

    python examples/studies/moco.py --seeds 0 1 2
    python examples/studies/moco.py --preset moco-v1/cifar10-small --data train.tar --test test.tar
"""

import argparse
from pathlib import Path
from statistics import mean, stdev

from commands import curve, knn, plain, pretrain
from matplotlib import pyplot

MOMENTA = (0.0, 0.9, 0.99, 0.999)
QUEUES = (128, 256, 1024, 4096)
COLORS = ("#c8553d", "#e9a23b", "#1b6ca8", "#7fb069")
LOSS = "loss of the first seed, by momentum"


def study(momentum: float, queue: int, options: argparse.Namespace) -> dict:
    """Train one arm, a run a seed; return kNN of each."""
    changes = [*options.set, f"method.momentum={momentum}", f"method.queue_size={queue}"]
    name = f"momentum-{momentum}-queue-{queue}-seed"
    runs = [options.out / f"{name}-{seed}" for seed in options.seeds]
    found = []
    for run, seed in zip(runs, options.seeds, strict=True):
        pretrain(run, options.preset, options.data, [*changes, f"seed={seed}"])
        found.append(knn(run, test=options.test, baseline=True))
    return {
        "momentum": momentum,
        "queue": queue,
        "run": runs[0],
        "knn": [100 * each["top1"] for each in found],
        "untrained": 100 * mean(each["top1_untrained"] for each in found),
        "pixels": 100 * found[0]["top1_pixels"],
    }


def table(arms: list[dict]) -> str:
    """Return mean and deviation of every arm as a table in Markdown."""
    lines = ["| momentum | queue | kNN (%) | deviation | seeds |", "|---|---|---|---|---|"]
    for arm in arms:
        spread = f"{stdev(arm['knn']):.1f}" if len(arm["knn"]) > 1 else "-"
        words = (arm["momentum"], arm["queue"], f"{mean(arm['knn']):.1f}", spread, len(arm["knn"]))
        lines.append(f"| {' | '.join(map(str, words))} |")
    return "\n".join(lines)


def draw(momenta: list[dict], queues: list[dict], preset: str, path: Path) -> None:
    """Draw kNN over momentum and over queue, and the loss of each momentum."""
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    sweeps = {"momentum": momenta, "queue": queues}
    for axis, (field, arms) in zip(axes[:2], sweeps.items(), strict=True):
        places = range(len(arms))
        for seed in zip(*(arm["knn"] for arm in arms), strict=True):
            axis.plot(places, seed, "o", color="#1b6ca8", alpha=0.4, markersize=4)
        axis.plot(places, [mean(arm["knn"]) for arm in arms], color="#1b6ca8", linewidth=1.8)
        axis.axhline(arms[0]["untrained"], color="grey", linestyle="--", label="untrained")
        axis.axhline(arms[0]["pixels"], color="grey", linestyle=":", label="raw pixels")
        axis.set_xticks(places, [f"{arm[field]:g}" for arm in arms])
        axis.set(xlabel=field, ylabel="kNN (%)")
    for arm, color in zip(momenta, COLORS, strict=True):
        axes[2].plot(*curve(arm["run"], "loss"), color=color, label=f"{arm['momentum']:g}")
    axes[2].set(title=LOSS, xlabel="epoch", ylabel="nats")
    for axis in axes:
        plain(axis)
        axis.legend(frameon=False)
    figure.suptitle(f"MoCo, {preset}")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train all arms, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="moco-v1/digits")
    parser.add_argument("--data", help="what ssl pretrain --data takes")
    parser.add_argument("--test", help="what ssl knn-eval --test takes")
    parser.add_argument("--out", type=Path, default=Path("runs/moco-study"))
    parser.add_argument("--momentum", type=float, default=0.99, help="while the queue varies")
    parser.add_argument("--queue", type=int, default=1024, help="while the momentum varies")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], help="passed on to all arms")
    options = parser.parse_args()
    momenta = [study(momentum, options.queue, options) for momentum in MOMENTA]
    queues = [study(options.momentum, queue, options) for queue in QUEUES]
    figure = options.out / "moco.png"
    draw(momenta, queues, options.preset, figure)
    print(table([*momenta, *queues]))
    print(figure)


if __name__ == "__main__":
    main()
