"""Compare training on adversarial images with what is the same without them.

The study `clae` (Ho & Vasconcelos 2020): SimCLR, CLAE, and CLAE with random signs instead. The
study `advprop` (Xie et al. 2020): cross-entropy, and adversarial training with one BatchNorm and
with two, in networks of several widths. Every arm has several seeds. What is finished is not done
again, and a run that was stopped goes on.

    python examples/studies/adversarial.py --study clae
    python examples/studies/adversarial.py --study advprop --widths 4,8,16
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev

from commands import TALK, Found, knn, linear, measured, plain, pretrain, table
from matplotlib import pyplot

import sslcli

COLORS = ("#6b7280", "#d99a2b", "#c8553d", "#1b6ca8")
# A second term doubles the gradient, as twice the rate does.
CLAE = {  # by arm: what each --set takes
    "SimCLR": ["method.alpha=0"],
    "SimCLR, twice the rate": ["method.alpha=0", "optimizer.base_lr=0.6"],
    "random signs": ["method.direction=random"],
    "CLAE": [],
}
ADVPROP = {  # by arm: the preset's method, and what each --set takes
    "cross-entropy": ("supervised", []),
    "cross-entropy, twice the rate": ("supervised", ["optimizer.base_lr=0.2"]),
    "one BatchNorm": ("advprop", ["method.norms=shared"]),
    "two BatchNorms": ("advprop", []),
}
MEASURES = {  # of robust-eval, with their titles
    "top1": "clean",
    "top1/linf-2": "PGD, 2 levels of 255",
    "top1/linf-4": "PGD, 4 levels of 255",
    "top1/corrupted": "corruptions",
}


def folder(arm: str) -> str:
    """Return an arm's name as that of a folder."""
    return arm.replace(",", "").replace(" ", "-")


def settings(options: argparse.Namespace, epochs: int, seed: int) -> list[str]:
    """Return the changes that all arms share."""
    lasts = f'train.duration="{options.epochs or epochs} epochs"'
    return [lasts, f"seed={seed}", "evaluation.online_every=", *options.set]


def clae(options: argparse.Namespace) -> dict[str, Found]:
    """Train and probe every arm; return accuracies by arm."""
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.seeds):
        for arm, changes in CLAE.items():
            run = options.out / "clae" / f"{folder(arm)}-{seed}"
            pretrain(run, f"clae/{options.setting}", None, [*changes, *settings(options, 15, seed)])
            own = found.setdefault(arm, {"kNN": [], "linear": []})
            own["kNN"].append(knn(run)["top1"])
            own["linear"].append(linear(run)["top1"])
    return found


def advprop(options: argparse.Namespace) -> dict[str, Found]:
    """Train and attack every arm at every width; return accuracies by "arm, width"."""
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.seeds):
        for width in options.widths:
            for arm, (method, changes) in ADVPROP.items():
                run = options.out / "advprop" / f"{folder(arm)}-{width}-{seed}"
                all_changes = [*changes, f"encoder.width={width}", *settings(options, 12, seed)]
                pretrain(run, f"{method}/{options.setting}", None, all_changes)
                numbers = measured(run, "robust", lambda run: robustness(run, options.count))
                own = found.setdefault(f"{arm}, {width}", {name: [] for name in MEASURES})
                for name, values in own.items():
                    values.append(numbers[name])
    return found


def robustness(run: Path, count: int) -> Mapping[str, float | None]:
    """Return accuracies under a short PGD and all corruptions."""
    short = {"eps": [2, 4], "eps_l2": [], "steps": 10, "restarts": 1}
    return sslcli.robust_eval(run, count=count, **short, listener=TALK).metrics()


def draw(found: Mapping[str, Found], widths: list[int], path: Path) -> None:
    """Draw what each arm of AdvProp's study reaches against the width, a panel a measure."""
    figure, axes = pyplot.subplots(1, len(MEASURES), figsize=(13, 3.4), layout="constrained")
    for axis, (name, title) in zip(axes, MEASURES.items(), strict=True):
        for arm, color in zip(ADVPROP, COLORS, strict=True):
            each = [[100 * x for x in found[f"{arm}, {width}"][name]] for width in widths]
            spread = [stdev(x) if len(x) > 1 else 0 for x in each]
            axis.errorbar(
                widths, [mean(x) for x in each], spread, color=color, label=arm, capsize=3
            )
        axis.set(title=title, xlabel="width", xscale="log", xticks=widths, xticklabels=widths)
        axis.minorticks_off()
        plain(axis)
    axes[0].set_ylabel("accuracy in %")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(ADVPROP), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Do what is left of the studies asked for; print their tables, and draw AdvProp's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", choices=["clae", "advprop", "both"], default="both")
    parser.add_argument("--setting", default="scenes", help="of the presets")
    parser.add_argument("--seeds", type=int, default=3, help="of every arm, from 0")
    parser.add_argument("--epochs", type=int, help="instead of 15 (clae) and 12 (advprop)")
    parser.add_argument("--widths", type=numbers, default=[4, 8, 16], help="of the networks")
    parser.add_argument("--count", type=int, default=500, help="test images that are attacked")
    parser.add_argument("--out", type=Path, default=Path("runs/adversarial"))
    parser.add_argument("--set", action="append", default=[], help="passed on to every arm")
    options = parser.parse_args()
    if options.study != "advprop":
        print(table(clae(options)), "", sep="\n", flush=True)
    if options.study != "clae":
        found, figure = advprop(options), options.out / "advprop.png"
        draw(found, options.widths, figure)
        print(table(found, MEASURES), "", figure, sep="\n", flush=True)


def numbers(text: str) -> list[int]:
    """Return the numbers of a list with commas."""
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    main()
