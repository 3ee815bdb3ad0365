"""Train every method with its cifar10-small preset and compare what their encoders know.

All see as many views of 24 px with the same encoder, InstDisc and Exemplar-CNN 8,000 images the
more often; cross-entropy, with one view an image, stands beside them. What is finished is not done
again, and a run that was stopped goes on, so the study can be stopped at any time and started anew.

    python examples/studies/cifar10_small.py --data cifar10/train.tar --test cifar10/test.tar
    python examples/studies/cifar10_small.py ... --methods simclr byol --epochs 2
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from commands import at_a_time, knn, linear, pretrain, rows
from matplotlib import pyplot

from sslcli.config.presets import list_presets

SETTING = "cifar10-small"
# Energy-based models have their own study, at another image size and with another network.
OTHERS = {"jem", "jem-stable", "hdge", "igebm"}
COLUMNS = {
    "method": "{}",
    "images_per_second": "{:.0f}",
    "knn": "{:.1%}",
    "linear": "{:.1%}",
    "alignment": "{:.3f}",
    "uniformity": "{:.2f}",
    "effective_rank": "{:.0f}",
}


def presets(wanted: Sequence[str], setting: str) -> dict[str, str]:
    """Return the preset of each method: of those asked for, or of all that have the setting.

    `supervised/SETTING` is the baseline of the energy-based models, `-ssl` the one that belongs
    here.
    """
    names = [name for name in list_presets() if name.endswith((f"/{setting}", f"/{setting}-ssl"))]
    found = {name.split("/")[0]: name for name in names}
    return {name: found[name] for name in wanted or found if wanted or name not in OTHERS}


def study(options: argparse.Namespace, method: str, preset: str) -> dict:
    """Train and evaluate one method; return a row of the table."""
    run = options.out / method
    changes = [f"train.duration={options.epochs} epochs"] if options.epochs else []
    pretrain(run, preset, options.data, changes)
    near, probe = knn(run, test=options.test, geometry=True), linear(run, test=options.test)
    return {
        "method": method,
        "images_per_second": median(row["images_per_second"] for row in rows(run)),
        "knn": near["top1"],
        "linear": probe["top1"],
        **{name: near[name] for name in ("alignment", "uniformity", "effective_rank")},
        "n": near["n"],
    }


def table(found: list[dict]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    lines += [" | ".join(form.format(row[name]) for name, form in COLUMNS.items()) for row in found]
    return "\n".join(f"| {line} |" for line in lines)


def draw(found: list[dict], untrained: dict, path: Path) -> None:
    """Draw kNN and linear accuracy of every method as bars, with what no training reaches.

    Args:
        found: A row a method.
        untrained: kNN's top-1 of the untrained encoder and of raw pixels, from 0 to 1.
        path: The PNG file.
    """
    height = 0.9 + 0.34 * len(found)
    figure, axis = pyplot.subplots(figsize=(7, height), layout="constrained")
    places = range(len(found))
    for name, color, shift in (("knn", "#1b6ca8", -0.19), ("linear", "#7fb069", 0.19)):
        values = [100 * row[name] for row in found]
        bars = axis.barh([p + shift for p in places], values, 0.36, color=color, label=name)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    for name, style in (("untrained", ":"), ("pixels", "--")):
        value = 100 * untrained[f"top1_{name}"]
        axis.axvline(value, color="#444444", linestyle=style, linewidth=1, label=f"{name}, kNN")
    axis.set_yticks(list(places), [row["method"] for row in found])
    axis.invert_yaxis()
    axis.set_xlabel(f"top-1 on {found[0]['n']:,} test images, %")
    axis.set_title("one seed each")
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
    chosen = presets(options.methods, options.setting)
    with at_a_time(options.jobs) as pool:
        found = list(pool.map(partial(study, options), chosen, chosen.values()))
    first = options.out / next(iter(chosen))
    untrained = knn(first, "untrained", test=options.test, baseline=True)
    found.sort(key=lambda row: -row["knn"])
    (options.out / "study.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "study.md").write_text(table(found) + "\n")
    draw(found, untrained, options.out / "study.png")
    print(table(found))


if __name__ == "__main__":
    main()
