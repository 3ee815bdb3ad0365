"""Repeat the papers' ablations, each in short runs with one seed or several.

Trains every arm of a study, measures kNN and linear probe on the test images, draws a figure and
prints a table with one sentence: whether what the paper found is seen here. What is finished is not
done again, and a run that was stopped goes on.

    python examples/studies/ablations.py --study simclr-head
    python examples/studies/ablations.py --setting cifar10-small --epochs 2 \
        --data cifar10/train.tar --test cifar10/test.tar
"""

import argparse
import json
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import mean

from commands import curve, knn, linear, plain, pretrain, spoken
from matplotlib import pyplot

from sslcli.config.presets import resolve

COLORS = ("#1b6ca8", "#d99a2b", "#c8553d", "#5b8c5a", "#7a5195", "#6b7280")
SHORT = ['train.log_every="5 steps"', 'evaluation.online_every="10%"']
RGB = ["data.space=rgb", "data.mean=[0.5,0.5,0.5]", "data.std=[0.3,0.3,0.3]"]
INSTDISC = '{name="instdisc",dim=64,temperature=0.1,negatives=0,momentum=0.5}'
ALONE = [f"method={INSTDISC}", "encoder.split=[[0]]"]


@dataclass(frozen=True)
class Arm:
    """One run of a study.

    Attributes:
        method: Whose preset of the setting is trained; `supervised` with the views of the others.
        changes: What each --set takes.
        times: How many times the study's epochs.
        large_only: Whether views are made of the first size alone.
    """

    method: str
    changes: list[str] = field(default_factory=list)
    times: int = 1
    large_only: bool = False

    def preset(self, setting: str) -> str:
        """Return what --preset takes."""
        return f"{self.method}/{setting}{'-ssl' if self.method == 'supervised' else ''}"

    def all_changes(self, setting: str, epochs: int) -> list[str]:
        """Return what each --set takes when the study lasts some epochs."""
        changes = [*SHORT, f'train.duration="{self.times * epochs} epochs"', *self.changes]
        if self.large_only:
            views = resolve(self.preset(setting), None, {}).config.views
            large = views[0].model_dump(mode="json", exclude_unset=True)
            changes.append("views=" + json.dumps([large], separators=(",", "=")))  # is TOML too
        return changes


@dataclass(frozen=True)
class Study:
    """A claim, and the runs that test it.

    Attributes:
        claim: What the paper found, and where.
        arms: Runs by label.
        better: Pairs of labels; by the claim the first knows more than the second.
        metric: What else training logs that shows it.
        epochs: Of every arm, on the digits.
    """

    claim: str
    arms: dict[str, Arm]
    better: list[tuple[str, str]]
    metric: str = "effective_rank"
    epochs: int = 10


def batches(name: str) -> dict[str, Arm]:
    """Return arms that take each step of 256 images in parts, as BYOL's section 5 does.

    A part has its own negatives and BatchNorm; number of steps, rate and momentum stay.
    """
    return {
        f"{name}, {256 // parts} images": Arm(
            name.lower(), ["train.batch_size=256", f"train.accumulate={parts}"]
        )
        for parts in (1, 4, 16)
    }


STUDIES = {
    "simsiam-predictor": Study(
        "SimSiam needs a predictor that is trained, best at a constant rate (table 1)",
        {
            "constant rate": Arm("simsiam"),
            "decayed rate": Arm("simsiam", ["method.constant_predictor_lr=false"]),
            "fixed predictor": Arm("simsiam", ["method.predictor=fixed"]),
            "no predictor": Arm("simsiam", ["method.predictor=none"]),
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
            "symmetric": Arm("simsiam"),
            "asymmetric": Arm("simsiam", ["method.symmetric=false"]),
            "asymmetric, twice as long": Arm("simsiam", ["method.symmetric=false"], times=2),
        },
        [("symmetric", "asymmetric"), ("asymmetric, twice as long", "asymmetric")],
    ),
    "batch": Study(
        "BYOL suffers less than SimCLR when the batch shrinks (section 5, figure 3)",
        {**batches("BYOL"), **batches("SimCLR")},
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
            "SupCon": Arm("supcon"),
            "cross-entropy": Arm("supervised"),
            "SimCLR": Arm("simclr"),
        },
        [("SupCon", "cross-entropy"), ("SupCon", "SimCLR")],
    ),
    "simclr-head": Study(
        "SimCLR's features are better under a head, best a non-linear one (figure 8)",
        {
            "non-linear head": Arm("simclr"),
            "linear head": Arm("simclr", ["method.projector=linear"]),
            "no head": Arm("simclr", ["method.projector=none"]),
        },
        [("non-linear head", "linear head"), ("non-linear head", "no head")],
    ),
    "simclr-colour": Study(
        "SimCLR needs crops and colour together (section 3.1, figure 5)",
        {
            "crop and colour": Arm("simclr"),
            "crop": Arm("simclr", ["views.0.jitter=", "views.0.grayscale=0"]),
            "colour": Arm("simclr", ["views.0.crop_scale=[1, 1]", "views.0.crop_ratio=[1, 1]"]),
        },
        [("crop and colour", "crop"), ("crop and colour", "colour")],
        metric="contrast_top1",
    ),
    "amdim-terms": Study(
        "AMDIM gains from predicting local features, beside a contrast of global ones alone",
        {
            "local terms": Arm("amdim"),
            "global features alone": Arm("amdim", ['method.terms=["1->1"]']),
        },
        [("local terms", "global features alone")],
        metric="online_linear_top1",
        epochs=20,
    ),
    "cmc-views": Study(
        "CMC learns from views that share less than R and GB do, and more than from L alone",
        {"L and ab": Arm("cmc"), "R and GB": Arm("cmc", RGB), "L alone": Arm("cmc", ALONE)},
        [("L and ab", "R and GB"), ("L and ab", "L alone")],
    ),
    "cpc-norm": Study(
        "BatchNorm lets CPC's patches tell each other of their image: the task is solved, and less "
        "is learned than with layer norm (CPC v2)",
        {"layer norm": Arm("cpc-v2"), "BatchNorm": Arm("cpc-v2", ["encoder.norm=batch"])},
        [("layer norm", "BatchNorm")],
        metric="patch_top1",
    ),
    "swav-multi-crop": Study(
        "SwAV gains from small crops beside the large ones (table 3)",
        {"2 + 2 crops": Arm("swav"), "2 crops": Arm("swav", large_only=True)},
        [("2 + 2 crops", "2 crops")],
        metric="swap_top1",
        epochs=30,
    ),
}


def train(study: Study, out: Path, options: argparse.Namespace) -> dict[str, dict]:
    """Train and measure every arm; return its first run, and the numbers of each seed, by label."""
    found = {}
    for label, arm in study.arms.items():
        runs = [
            out / f"{label.replace(', ', '-').replace(' ', '-')}{f'-{seed}' if seed else ''}"
            for seed in range(options.seeds)
        ]
        changes = arm.all_changes(options.setting, options.epochs or study.epochs)
        for seed, run in enumerate(runs):
            own = [f"seed={seed}"] if seed else []
            pretrain(run, arm.preset(options.setting), options.data, [*changes, *own, *options.set])
        near, probes = (
            [measure(run, test=options.test) for run in runs] for measure in (knn, linear)
        )
        found[label] = {"run": runs[0], "n": near[0]["n"]}
        for name, each in (("knn", near), ("linear", probes)):
            values = [one["top1"] for one in each]
            found[label] |= {name: mean(values), f"{name} of each seed": values}
    first = next(iter(found.values()))
    baseline = knn(first["run"], "untrained", test=options.test, baseline=True)
    return {label: {**one, "untrained": baseline["top1_untrained"]} for label, one in found.items()}


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
        shares = (spoken(one[f"{name} of each seed"]) for name in ("knn", "linear"))
        lines.append(f"| {label} | {' | '.join(shares)} |")
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
    values = [each[name] for each in found.values() for name in ("knn", "linear", "untrained")]
    low, high = 100 * min(values) - 5, 100 * max(values) + 5
    axis.set(ylim=(max(0, low), min(100, high)), xticks=[])
    axis.set_title(f"kNN and, pale, linear: % of {one['n']:,}; dashed: untrained", size=8)


def main() -> None:
    """Do what is left of the studies asked for; write a figure and print the numbers of each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", choices=[*STUDIES, "all"], default="all")
    parser.add_argument("--setting", default="digits", help="of the presets")
    parser.add_argument("--epochs", type=int, help="instead of the study's")
    parser.add_argument("--seeds", type=int, default=1, help="of every arm, from 0")
    parser.add_argument("--data", help="what ssl pretrain --data takes")
    parser.add_argument("--test", help="what ssl knn-eval --test takes")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--set", action="append", default=[], help="passed on to every arm")
    options = parser.parse_args()
    for name in STUDIES if options.study == "all" else [options.study]:
        study, figure = STUDIES[name], options.out / f"{name}.png"
        found = train(study, options.out / name, options)
        draw(study, found, figure)
        print(table(found), sentence(study, found), figure, "", sep="\n\n", flush=True)


if __name__ == "__main__":
    main()
