"""Compare CMC on Lab with CMC on red, green and blue, and with either view of Lab alone.

Tian et al. 2020 (arXiv:1906.05849) contrast L with ab. R with GB is a split whose parts share more.
A view alone has no other to be found by, so it is told from all images by its own memory: InstDisc
on that view, with CMC's crops and half of its networks. Every arm has several seeds. What is
finished is not done again, and a run that was stopped goes on.

    python examples/studies/cmc_views.py --seeds 3
"""

import argparse
from pathlib import Path
from statistics import mean, stdev

from commands import knn, linear, plain, pretrain
from matplotlib import pyplot

from sslcli.config.presets import resolve

RGB = ["data.space=rgb", "data.mean=[0.5,0.5,0.5]", "data.std=[0.25,0.25,0.25]"]
CMC, ALONE = "cmc/scenes-colour", "instdisc/scenes"
ARMS = {  # by arm: the preset, and the channels of each network
    "L and ab": (CMC, "[[0],[1,2]]"),
    "R and GB": (CMC, "[[0],[1,2]]"),
    "L alone": (ALONE, "[[0]]"),
    "ab alone": (ALONE, "[[1,2]]"),
}
COLORS = {"kNN": "#1b6ca8", "linear": "#d99a2b"}
Found = dict[str, dict[str, list[float]]]  # by arm and measure, one value a seed


def changes(arm: str) -> list[str]:
    """Return what an arm changes of its preset."""
    preset, split = ARMS[arm]
    found = [f"encoder.split={split}"]
    if arm == "R and GB":
        found += RGB
    if preset == ALONE:
        whole = resolve(CMC).config
        data, view = whole.data, whole.views[0]
        found += [f"data.source={data.source}", f"data.space={data.space}"]
        found += [f"data.{name}={list(getattr(data, name))}" for name in ("mean", "std")]
        found += [f"views.0.crop_scale={list(view.crop_scale)}", "views.0.jitter="]
        found += ['views.0.order=["crop"]']
    return found


def train(options: argparse.Namespace) -> tuple[Found, dict[str, float]]:
    """Train and probe every arm with every seed; return accuracies, and those without training."""
    found: Found = {arm: {"kNN": [], "linear": []} for arm in ARMS}
    floor = {}
    for seed in range(options.seeds):
        for arm, (preset, _) in ARMS.items():
            run = options.out / f"{arm.replace(' ', '-')}-{seed}"
            lasts = f'train.duration="{options.epochs} epochs"'
            pretrain(run, preset, None, [*changes(arm), lasts, f"seed={seed}", *options.set])
            found[arm]["kNN"].append(knn(run)["top1"])
            found[arm]["linear"].append(linear(run)["top1"])
            if (arm, seed) == ("L and ab", 0):
                floor = knn(run, "floor", baseline=True)
    return found, {"untrained": floor["top1_untrained"], "raw pixels": floor["top1_pixels"]}


def shown(values: list[float]) -> str:
    """Return mean and deviation in percent."""
    spread = f" +- {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}"


def table(found: Found, floor: dict[str, float]) -> str:
    """Return the numbers of every arm as a table in Markdown."""
    lines = ["| views | kNN (%) | linear (%) |", "|---|---|---|"]
    for arm, one in found.items():
        lines.append(f"| {arm} | {shown(one['kNN'])} | {shown(one['linear'])} |")
    lines += [f"| {name} | {100 * top1:.1f} | |" for name, top1 in floor.items()]
    return "\n".join(lines)


def draw(found: Found, floor: dict[str, float], path: Path) -> None:
    """Draw a bar an arm and measure, with a dot a seed; the floors are lines."""
    figure, axis = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    for place, one in enumerate(found.values()):
        for shift, (name, color) in zip((-0.2, 0.2), COLORS.items(), strict=True):
            values = [100 * value for value in one[name]]
            axis.bar(place + shift, mean(values), 0.36, color=color, alpha=0.8,
                     label=name if place == 0 else None)  # fmt: skip
            axis.plot([place + shift] * len(values), values, "k.", markersize=5)
    for (name, value), style in zip(floor.items(), (":", "--"), strict=True):
        axis.axhline(100 * value, color="grey", linestyle=style, linewidth=1, label=f"kNN, {name}")
    axis.set(xticks=range(len(found)), xticklabels=list(found), ylabel="% of the test pictures")
    axis.set_title("CMC's views on scenes-colour; a dot is a seed")
    axis.legend(frameon=False, fontsize=8)
    plain(axis)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main() -> None:
    """Do what is left of the study; write a figure and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("runs/cmc-views"))
    parser.add_argument("--set", action="append", default=[], help="passed on to every arm")
    options = parser.parse_args()
    found, floor = train(options)
    figure = options.out / "cmc_views.png"
    draw(found, floor, figure)
    print(table(found, floor), figure, sep="\n\n", flush=True)


if __name__ == "__main__":
    main()
