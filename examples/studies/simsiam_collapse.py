"""Show that SimSiam without its stop-gradient collapses (Chen & He 2021, section 4.1, figure 2).

Trains one preset twice, with and without, and draws both curves into one figure. A run that is
finished is not trained again, and one that was stopped goes on.

    python examples/studies/simsiam_collapse.py --preset simsiam/digits
    python examples/studies/simsiam_collapse.py --preset simsiam/cifar10-small --data train.tar
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from commands import curve, pretrain
from matplotlib import pyplot

ARMS = {"with stop-gradient": "true", "without stop-gradient": "false"}
PANELS = {
    "loss": "loss (-1 is perfect prediction)",
    "embedding_std": "embedding_std (0 is collapse)",
}


def draw(runs, preset, path):
    """Draw each metric as one panel with a line an arm."""
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(9, 3.2), layout="constrained")
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        for (label, run), color in zip(runs.items(), ("#1b6ca8", "#c8553d"), strict=True):
            axis.plot(*curve(run, name), color=color, label=label, linewidth=1.8)
        axis.set(title=title, xlabel="epoch")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[1].set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    figure.suptitle(f"SimSiam, {preset}")
    figure.savefig(path, dpi=150)


def main():
    """Train both arms and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="simsiam/digits")
    parser.add_argument("--data", help="what ssl pretrain --data takes")
    parser.add_argument("--out", type=Path, default=Path("runs/simsiam-collapse"))
    parser.add_argument("--set", action="append", default=[], help="passed on to both arms")
    options = parser.parse_args()
    runs = {label: options.out / value for label, value in ARMS.items()}
    for label, value in ARMS.items():
        changes = [*options.set, f"method.stop_gradient={value}"]
        pretrain(runs[label], options.preset, options.data, changes)
    figure = options.out / "collapse.png"
    draw(runs, options.preset, figure)
    for label, run in runs.items():
        print(f"{label}: embedding_std {curve(run, 'embedding_std')[1][-1]:.4f} at the end")
    print(figure)


if __name__ == "__main__":
    main()
