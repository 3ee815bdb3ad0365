"""Show that SimSiam without its stop-gradient collapses (Chen & He 2021, section 4.1, figure 2).

Trains one preset twice, with and without, and draws both curves into one figure. A run that is
finished is not trained again, and one that was stopped goes on.

    python examples/studies/simsiam_collapse.py --preset simsiam/digits
    python examples/studies/simsiam_collapse.py --preset simsiam/cifar10-small --data train.tar
"""

import argparse
from pathlib import Path

from commands import curve, draw_curves, pretrain

ARMS = {"with stop-gradient": "true", "without stop-gradient": "false"}
PANELS = {
    "loss": "loss (-1 is perfect prediction)",
    "embedding_std": "embedding_std (0 is collapse)",
}


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
    draw_curves(runs, ("#1b6ca8", "#c8553d"), PANELS, f"SimSiam, {options.preset}", figure)
    for label, run in runs.items():
        print(f"{label}: embedding_std {curve(run, 'embedding_std')[1][-1]:.4f} at the end")
    print(figure)


if __name__ == "__main__":
    main()
