"""Train every method with its cifar10-small preset and compare what their encoders know.

All see the same number of images with the same encoder. What is finished is not done again, and a
run that was stopped goes on, so the study can be stopped at any time and started anew.

    python examples/studies/cifar10_small.py --data cifar10/train.tar --test cifar10/test.tar
    python examples/studies/cifar10_small.py ... --methods simclr byol --epochs 2
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from commands import measured, pretrain, rows
from matplotlib import pyplot

from sslcli.config.presets import list_presets

SETTING = "cifar10-small"
# Energy-based models have their own study, at another image size and with another network.
OTHERS = {"jem", "jem-stable", "hdge", "igebm", "supervised"}
COLUMNS = {
    "method": "{}",
    "images_per_second": "{:.0f}",
    "knn": "{:.1%}",
    "linear": "{:.1%}",
    "alignment": "{:.3f}",
    "uniformity": "{:.2f}",
    "effective_rank": "{:.0f}",
}


def presets(wanted: Sequence[str], setting: str) -> list[str]:
    """Return the methods to train: those asked for, or all that have the setting."""
    found = [name.split("/")[0] for name in list_presets() if name.endswith(f"/{setting}")]
    return list(wanted) or [method for method in found if method not in OTHERS]


def study(method: str, options: argparse.Namespace) -> dict:
    """Train and evaluate one method; return a row of the table."""
    run = options.out / method
    changes = [f"train.duration={options.epochs} epochs"] if options.epochs else []
    pretrain(run, f"{method}/{options.setting}", options.data, changes)
    test = ["--test", options.test] if options.test else []
    knn = measured(run, "knn", "knn-eval", *test, "--baseline", "--geometry")["metrics"]
    linear = measured(run, "linear", "linear-eval", *test)["metrics"]
    return {
        "method": method,
        "images_per_second": median(row["images_per_second"] for row in rows(run)),
        "knn": knn["top1"],
        "linear": linear["top1"],
        **{name: knn[name] for name in ("alignment", "uniformity", "effective_rank")},
        "untrained": knn["top1_untrained"],
        "pixels": knn["top1_pixels"],
        "n": knn["n"],
        "epochs": rows(run)[-1]["epoch"],
    }


def table(found: list[dict]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    lines += [" | ".join(form.format(row[name]) for name, form in COLUMNS.items()) for row in found]
    return "\n".join(f"| {line} |" for line in lines)


def draw(found: list[dict], path: Path) -> None:
    """Draw kNN and linear accuracy of every method as bars, with what no training reaches."""
    height = 0.9 + 0.34 * len(found)
    figure, axis = pyplot.subplots(figsize=(7, height), layout="constrained")
    places = range(len(found))
    for name, color, shift in (("knn", "#1b6ca8", -0.19), ("linear", "#7fb069", 0.19)):
        values = [100 * row[name] for row in found]
        bars = axis.barh([p + shift for p in places], values, 0.36, color=color, label=name)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    for name, style in (("untrained", ":"), ("pixels", "--")):
        value = 100 * found[0][name]
        axis.axvline(value, color="#444444", linestyle=style, linewidth=1, label=f"{name}, kNN")
    axis.set_yticks(list(places), [row["method"] for row in found])
    axis.invert_yaxis()
    axis.set_xlabel(f"top-1 on {found[0]['n']:,} test images, %")
    axis.set_title(f"{found[0]['epochs']:.0f} epochs, one seed")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=150)


def main() -> None:
    """Do what is left of the study, and write table, figure and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="what ssl pretrain --data takes")
    parser.add_argument("--test", help="what ssl knn-eval --test takes")
    parser.add_argument("--setting", default=SETTING, help="of the presets")
    parser.add_argument("--methods", nargs="*", default=[], help="all by default")
    parser.add_argument("--epochs", type=int, help="instead of the presets'")
    parser.add_argument("--jobs", type=int, default=1, help="methods trained at the same time")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10-small"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        chosen = presets(options.methods, options.setting)
        found = list(pool.map(lambda method: study(method, options), chosen))
    found.sort(key=lambda row: -row["knn"])
    (options.out / "study.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "study.md").write_text(table(found) + "\n")
    draw(found, options.out / "study.png")
    print(table(found))


if __name__ == "__main__":
    main()
