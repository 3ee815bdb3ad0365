"""Compare energy-based models with the same network trained by cross-entropy alone.

JEM (Grathwohl et al. 2020) and HDGE (Liu & Abbeel 2020) claim that the density term also makes a
classifier better calibrated and better at telling outside images. Trains every method, measures
accuracy, ECE and AUROC on the test part, and writes energy.md, energy.json and energy.png of all
that is in the folder. What is done is not done again, and a training that was stopped goes on.

    SSL_DATA=data python examples/studies/energy.py --sets digits --seeds 0-2

SSL_DATA names a folder with cifar10/train.tar, cifar10/test.tar and flickr8k/dev.tar.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from commands import TALK, at_a_time, measured, pretrain, rows
from matplotlib import pyplot
from matplotlib.axes import Axes

import sslcli
from sslcli import assemble
from sslcli.data.evaluation import eval_batches
from sslcli.data.sources.base import need_labels
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.evaluate.calibration.measures import measure_calibration

SETS = ("digits", "cifar10-small")
METHODS = ("supervised", "hdge", "jem", "jem-stable", "igebm")
FAR = ("uniform-noise", "gaussian-noise", "constant", "blurred-noise", "interpolation",
       "permuted-pixels")  # fmt: skip
SCORES = ("msp", "log-p")
COLORS = ("#6b7280", "#1b6ca8", "#c8553d", "#d99a2b", "#5b8c5a")
PANELS = {"top1": "top-1 %", "ece": "ECE %"}
BINS = 20  # of the ECE, as in the papers


def data_of(name: str) -> tuple[tuple[str | None, str | None], list[str]]:
    """Return what a set is trained and tested on, and the photos to tell from it, if there are."""
    root = os.environ.get("SSL_DATA")
    photos = [f"{root}/flickr8k/dev.tar"] if root else []
    if name == "digits":
        return (None, None), photos
    if not root:
        sys.exit(f"{name} needs SSL_DATA, a folder with cifar10/train.tar and cifar10/test.tar")
    return (f"{root}/cifar10/train.tar", f"{root}/cifar10/test.tar"), photos


def study(run: Path, name: str, method: str, seed: int, changes: Sequence[str]) -> None:
    """Train one model and measure it, unless that is done."""
    if (run / "study-ood.json").is_file():
        return
    (data, test), photos = data_of(name)
    given = [f"seed={seed}", *([f"data.test={test}"] if test else []), *changes]
    pretrain(run, f"{method}/{name}", data, given)
    scores = SCORES
    if method == "igebm":  # has no linear classifier, which calibrate and msp need
        scores = SCORES[1:]
        measured(run, "calibrate", classified)
    else:
        measured(run, "calibrate", calibrated)
    outside = [*FAR, *photos]
    measured(run, "ood", lambda run: detected(run, outside, scores))


def calibrated(run: Path) -> dict[str, float]:
    """Return accuracy and ECE of a classifier on its held-out images."""
    found = sslcli.calibrate(run, method="none", bins=BINS, listener=TALK)
    return found.metrics()


def detected(run: Path, outside: Sequence[str], scores: Sequence[str]) -> dict[str, float]:
    """Return how well scores tell outside images, at the published settings."""
    found = sslcli.ood_detect(run, ood=outside, score=scores, tune=False, listener=TALK)
    return found.metrics()


def classified(run: Path) -> dict[str, float]:
    """Return accuracy and ECE of an IGEBM on its held-out images."""
    checkpoint = load_checkpoint(run)
    method: Any = assemble.load_method(checkpoint)
    test = assemble.open_data(checkpoint.config).test
    with torch.no_grad():
        parts = [
            (method.logits(images), seen)
            for images, seen in eval_batches(test, checkpoint.config.data, 100, "cpu")
        ]
    logits, seen = (torch.cat(part) for part in zip(*parts, strict=True))
    labels = torch.from_numpy(need_labels(test))[seen]
    found = measure_calibration(logits.double().log_softmax(dim=1), labels, BINS)
    return {"top1": found.top1, "ece": found.ece}


def collect(out: Path) -> dict:
    """Return mean, deviation and n of each number by set and method, of all that is in a folder."""
    found: dict = {}
    for name, method in product(SETS, METHODS):
        runs = [each.parent for each in sorted(out.glob(f"{name}/{method}-[0-9]*/study-ood.json"))]
        if runs:
            found.setdefault(name, {})[method] = summary([numbers(run) for run in runs])
    return found


def numbers(run: Path) -> dict[str, float]:
    """Return what was measured of one model by name; an AUROC is named auroc/SCORE/SET."""
    calibrated, detected = (
        json.loads((run / f"study-{name}.json").read_text())["metrics"]
        for name in ("calibrate", "ood")
    )
    found = {"rollbacks": rows(run)[-1].get("rollbacks", 0)}
    found |= {name: calibrated[name] for name in ("top1", "ece")}
    # ood-detect names the photos after their file, dev.tar.
    detected = {name.replace("/dev", "/flickr8k"): value for name, value in detected.items()}
    return found | {
        name: value
        for name, value in detected.items()
        if name.startswith("auroc/") and name.count("/") == 2
    }


def summary(runs: list[dict]) -> dict[str, dict]:
    """Return mean, deviation and n of each number over seeds."""
    names = dict.fromkeys(name for run in runs for name in run)
    each = {name: [run[name] for run in runs if name in run] for name in names}
    return {
        name: {"mean": mean(values), "deviation": stdev(values) if len(values) > 1 else None,
               "n": len(values)}
        for name, values in each.items()
    }  # fmt: skip


def shown(found: dict | None) -> str:
    """Return mean and deviation in percent."""
    if not found:
        return "-"
    text, spread = f"{100 * found['mean']:.1f}", found["deviation"]
    return text if spread is None else f"{text} +- {100 * spread:.1f}"


def table(name: str, results: dict) -> str:
    """Return the Markdown of one set: a row a method, then a row a method and score."""
    lines = [f"### {name}", "", f"| method | seeds | top-1 % | ECE % ({BINS} bins) | rollbacks |"]
    lines.append("|---|---|---|---|---|")
    for method, one in results.items():
        rollbacks = round(one["rollbacks"]["mean"] * one["rollbacks"]["n"])
        cells = (method, one["top1"]["n"], shown(one["top1"]), shown(one["ece"]), rollbacks)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    sets = outside(results)
    lines += ["", f"| AUROC % | score | {' | '.join(sets)} |", "|---" * (len(sets) + 2) + "|"]
    for method, one in results.items():
        for score in SCORES:
            cells = [shown(one.get(f"auroc/{score}/{far}")) for far in sets]
            if set(cells) != {"-"}:
                lines.append(f"| {method} | {score} | {' | '.join(cells)} |")
    return "\n".join(lines)


def outside(results: dict) -> list[str]:
    """Return the names of the outside sets, in the order they were measured in."""
    names = (name for one in results.values() for name in one if name.startswith("auroc/"))
    return list(dict.fromkeys(name.split("/")[2] for name in names))


def draw(everything: dict, path: Path) -> None:
    """Draw a row of panels a set: top-1, ECE, and AUROC on each outside set by log p(x)."""
    figure, panels = pyplot.subplots(
        len(everything), 3, figsize=(12, 3.4 * len(everything)), layout="constrained",
        squeeze=False, width_ratios=(1, 1, 3),
    )  # fmt: skip
    for (name, results), axes in zip(everything.items(), panels, strict=True):
        for axis, (metric, title) in zip(axes, PANELS.items(), strict=False):
            bars(axis, 0, {method: one.get(metric) for method, one in results.items()})
            axis.set(title=f"{name}: {title}", xticks=[])
        sets = outside(results)
        for place, far in enumerate(sets):
            score = {m: one.get(f"auroc/{SCORES[-1]}/{far}") for m, one in results.items()}
            bars(axes[2], place, score)
        axes[2].set(title=f"{name}: AUROC % of log p(x)", ylim=(0, 100))
        axes[2].set_xticks(range(len(sets)), sets, rotation=20, fontsize=8)
        axes[2].axhline(50, color="black", linewidth=0.8, linestyle=":")
        axes[0].set_ylim(0, 100)
    names = panels[0][0].get_legend_handles_labels()
    figure.legend(*names, loc="outside upper center", ncols=len(METHODS), frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def bars(axis: Axes, place: int, values: dict[str, dict | None]) -> None:
    """Draw one group of bars, with deviations; a method has the same colour everywhere."""
    for index, (method, found) in enumerate(values.items()):
        if found:
            height, spread = 100 * found["mean"], 100 * (found["deviation"] or 0)
            at, color = place + 0.16 * (index - 2), COLORS[METHODS.index(method)]
            label = method if place == 0 else None
            axis.bar(at, height, 0.15, yerr=spread or None, color=color, label=label)
    axis.spines[["top", "right"]].set_visible(False)


def seeds_of(text: str) -> list[int]:
    """Return the seeds that "0-2" or "0,3" stands for."""
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(x) for x in text.split(",")]


def main() -> None:
    """Train and measure what is not done yet, and write table, numbers and figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", default="digits", help="digits, cifar10-small, or both")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=seeds_of, default=[0], help="0-2 or 0,3")
    parser.add_argument("--out", type=Path, default=Path("runs/energy"))
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    parser.add_argument("--set", action="append", default=[], help="passed on to every training")
    options = parser.parse_args()
    if not os.environ.get("SSL_DATA"):
        print("SSL_DATA is not set: Flickr8k's photos are left out", file=sys.stderr)
    wanted = product(options.sets.split(","), options.seeds, options.methods.split(","))
    with at_a_time(options.jobs) as pool:
        started = [
            pool.submit(
                study, options.out / name / f"{method}-{seed}", name, method, seed, options.set
            )
            for name, seed, method in wanted
        ]
        for each in started:
            each.result()
            write(options.out)
    print((options.out / "energy.md").read_text(), end="")


def write(out: Path) -> None:
    """Write what is known so far."""
    found = collect(out)
    (out / "energy.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "energy.md").write_text("\n\n".join(table(*each) for each in found.items()) + "\n")
    draw(found, out / "energy.png")


if __name__ == "__main__":
    main()
