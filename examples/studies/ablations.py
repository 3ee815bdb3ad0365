"""Repeat the papers' ablations on the built-in digits, each in a short run with one seed.

Trains every arm of a study, measures kNN and linear probe on the test images, draws a figure and
prints a table with one sentence: whether what the paper found is seen here. What is finished is not
done again, and a run that was stopped goes on.

    python examples/studies/ablations.py --study simclr-head
    python examples/studies/ablations.py --study all
"""

import argparse
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from commands import curve, measured, plain, pretrain
from matplotlib import pyplot

Arm = tuple[str, list[str]]  # a preset, and what each --set takes
COLORS = ("#1b6ca8", "#d99a2b", "#c8553d", "#5b8c5a", "#7a5195", "#6b7280")
SHORT = ['train.log_every="5 steps"', 'evaluation.online_every="10%"']


@dataclass(frozen=True)
class Study:
    """A claim, and the runs that test it.

    Attributes:
        claim: What the paper found, and where.
        arms: Preset and changes by label.
        better: Pairs of labels; by the claim the first knows more than the second.
        metric: What else training logs that shows it.
        epochs: Of every arm that does not set its own.
    """

    claim: str
    arms: dict[str, Arm]
    better: list[tuple[str, str]]
    metric: str = "effective_rank"
    epochs: int = 10


def batches(preset: str) -> dict[str, Arm]:
    """Return arms that take each step of 256 images in parts, as BYOL's section 5 does.

    A part has its own negatives and BatchNorm; number of steps, rate and momentum stay.
    """
    name = {"byol/digits": "BYOL", "simclr/digits": "SimCLR"}[preset]
    return {
        f"{name}, {256 // parts} images": (
            preset,
            ["train.batch_size=256", f"train.accumulate={parts}"],
        )
        for parts in (1, 4, 16)
    }


LARGE_CROPS = (
    "views=[{count = 2, size = 8, crop_scale = [0.5, 1.0], jitter = {brightness = 0.4, "
    'contrast = 0.4, saturation = 0.0, hue = 0.0, probability = 0.8}, order = ["crop", "jitter"]}]'
)

STUDIES = {
    "simsiam-predictor": Study(
        "SimSiam needs a predictor that is trained, best at a constant rate (table 1)",
        {
            "constant rate": ("simsiam/digits", []),
            "decayed rate": ("simsiam/digits", ["method.constant_predictor_lr=false"]),
            "fixed predictor": ("simsiam/digits", ["method.predictor=fixed"]),
            "no predictor": ("simsiam/digits", ["method.predictor=none"]),
        },
        [
            ("constant rate", "decayed rate"),
            ("constant rate", "fixed predictor"),
            ("constant rate", "no predictor"),
        ],
        epochs=30,
    ),
    "simsiam-symmetric": Study(
        "SimSiam's symmetric loss helps as twice the training does (section 4.6)",
        {
            "symmetric": ("simsiam/digits", []),
            "asymmetric": ("simsiam/digits", ["method.symmetric=false"]),
            "asymmetric, twice as long": (
                "simsiam/digits",
                ["method.symmetric=false", 'train.duration="20 epochs"'],
            ),
        },
        [("symmetric", "asymmetric"), ("asymmetric, twice as long", "asymmetric")],
    ),
    "batch": Study(
        "BYOL suffers less than SimCLR when the batch shrinks (section 5, figure 3)",
        {**batches("byol/digits"), **batches("simclr/digits")},
        [
            ("SimCLR, 256 images", "SimCLR, 16 images"),
            ("BYOL, 16 images", "SimCLR, 16 images"),
        ],
        metric="embedding_std",
        epochs=20,
    ),
    "supcon": Study(
        "labels help a contrastive loss, and it beats cross-entropy (SupCon, table 2)",
        {
            "SupCon": ("supcon/digits", []),
            "cross-entropy": ("supervised/digits-ssl", []),
            "SimCLR": ("simclr/digits", []),
        },
        [("SupCon", "cross-entropy"), ("SupCon", "SimCLR")],
    ),
    "simclr-head": Study(
        "SimCLR's features are better under a head, best a non-linear one (figure 8)",
        {
            "non-linear head": ("simclr/digits", []),
            "linear head": ("simclr/digits", ["method.projector=linear"]),
            "no head": ("simclr/digits", ["method.projector=none"]),
        },
        [("non-linear head", "linear head"), ("non-linear head", "no head")],
    ),
    "simclr-colour": Study(
        "SimCLR needs crops and colour together (section 3.1, figure 5)",
        {
            "crop and colour": ("simclr/digits", []),
            "crop": ("simclr/digits", ["views.0.jitter="]),
            "colour": ("simclr/digits", ["views.0.crop_scale=[1, 1]", "views.0.crop_ratio=[1, 1]"]),
        },
        [("crop and colour", "crop"), ("crop and colour", "colour")],
        metric="contrast_top1",
    ),
    "swav-multi-crop": Study(
        "SwAV gains from small crops beside the large ones (table 3)",
        {"2 + 2 crops": ("swav/digits", []), "2 crops": ("swav/digits", [LARGE_CROPS])},
        [("2 + 2 crops", "2 crops")],
        metric="swap_top1",
        epochs=30,
    ),
}


def train(study: Study, out: Path, changes: list[str]) -> dict[str, dict]:
    """Train and measure every arm; return its run and numbers by label."""
    found = {}
    for label, (preset, own) in study.arms.items():
        run = out / label.replace(", ", "-").replace(" ", "-")
        length = f'train.duration="{study.epochs} epochs"'
        pretrain(run, preset, changes=[*SHORT, length, *own, *changes])
        knn = measured(run, "knn", "knn-eval", "--baseline")["metrics"]
        linear = measured(run, "linear", "linear-eval")["metrics"]
        found[label] = {
            "run": run,
            "knn": knn["top1"],
            "linear": linear["top1"],
            "untrained": knn["top1_untrained"],
            "n": knn["n"],
        }
    return found


def error(share: float, n: int) -> float:
    """Return the standard error of a share of n images."""
    return sqrt(share * (1 - share) / n)


def verdict(first: dict, second: dict) -> str:
    """Say whether kNN of the first run is above the second's by more than two standard errors."""
    difference = first["knn"] - second["knn"]
    chance = 2 * sqrt(sum(error(each["knn"], each["n"]) ** 2 for each in (first, second)))
    if difference > chance:
        return "seen"
    return "the other way round" if difference < -chance else "within chance"


def sentence(study: Study, found: dict[str, dict]) -> str:
    """Return what was seen of each pair that the claim orders."""
    pairs = [
        f"{first} {100 * found[first]['knn']:.1f} against {second} "
        f"{100 * found[second]['knn']:.1f} % ({verdict(found[first], found[second])})"
        for first, second in study.better
    ]
    return f"Claim: {study.claim}. kNN here: {'; '.join(pairs)}."


def table(found: dict[str, dict]) -> str:
    """Return the numbers of every arm as a table in Markdown."""
    lines = ["| arm | kNN (%) | linear (%) |", "|---|---|---|"]
    for label, one in found.items():
        lines.append(f"| {label} | {100 * one['knn']:.1f} | {100 * one['linear']:.1f} |")
    return "\n".join(lines)


def draw(study: Study, found: dict[str, dict], path: Path) -> None:
    """Draw one metric and kNN over training as lines, and what the encoders know as bars."""
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
    for axis, metric in zip(axes, (study.metric, "online_knn_top1"), strict=False):
        for (label, one), color in zip(found.items(), COLORS, strict=False):
            axis.plot(*curve(one["run"], metric), color=color, label=label, linewidth=1.8)
        axis.set(xlabel="epoch")
    axes[0].set_title(study.metric)
    axes[1].set_title("kNN on held-out training images")
    bars(axes[2], found)
    for axis in axes:
        plain(axis)
    handles = axes[1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(found), frameon=False)
    figure.suptitle(study.claim)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def bars(axis: pyplot.Axes, found: dict[str, dict]) -> None:
    """Draw kNN, and the linear probe paler, with two standard errors."""
    for place, ((_, one), color) in enumerate(zip(found.items(), COLORS, strict=False)):
        for shift, name, alpha in ((-0.2, "knn", 1.0), (0.2, "linear", 0.5)):
            spread = 200 * error(one[name], one["n"])
            height = 100 * one[name]
            axis.bar(place + shift, height, 0.36, yerr=spread, color=color, alpha=alpha)
    one = next(iter(found.values()))
    axis.axhline(100 * one["untrained"], color="grey", linestyle="--", linewidth=1)
    lowest = min(min(each["knn"], each["linear"], each["untrained"]) for each in found.values())
    axis.set(ylim=(max(0, 100 * lowest - 5), 100), xticks=[])
    axis.set_title(f"kNN and, pale, linear: % of {one['n']}; dashed: untrained", size=10)


def main() -> None:
    """Do what is left of the studies asked for; write a figure and print the numbers of each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", choices=[*STUDIES, "all"], default="all")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--set", action="append", default=[], help="passed on to every arm")
    options = parser.parse_args()
    for name in STUDIES if options.study == "all" else [options.study]:
        study, figure = STUDIES[name], options.out / f"{name}.png"
        found = train(study, options.out / name, options.set)
        draw(study, found, figure)
        print(table(found), sentence(study, found), figure, "", sep="\n\n", flush=True)


if __name__ == "__main__":
    main()
