"""Ask what a small CLIP's zero-shot accuracy on the scenes in hues depends on.

Trains the preset in batches of several sizes, and once more with captions that name the colours
alone. Tests each by the built-in prompts, by prompts of known words in an order that no caption
has, and by prompts with words that no caption has; by all of a kind averaged, and each alone in the
mean. What is finished is not done again, and a run that was stopped goes on.

    python examples/studies/zero_shot.py
"""

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import torch
from commands import TALK, knn, linear, measured, pretrain, table
from PIL import Image

import sslcli
from sslcli.assemble import open_data
from sslcli.config.presets import resolve
from sslcli.data.sources.captions import HUES
from sslcli.data.sources.scenes import draw
from sslcli.files import write_atomically

PRESET = "clip/scenes-colour"
COLOURS = "colours alone"
PROMPTS = {
    "built-in": [],
    "unseen": ["{}", "the {}", "the small digit {}", "a {} on a ground", "in the middle a {}"],
    "new words": ["a photo of a {}", "my number is {}", "somebody wrote {} here"],
}


def colours(folder: Path) -> Path:
    """Write the training pictures with captions such as "red on blue ground"; return the table."""
    path = folder / "captions.csv"
    if path.is_file():
        return path
    train = open_data(resolve(PRESET, None, {}).config).train
    assert train.base is not None, "a part of all scenes"
    plan = draw(torch.arange(len(train.base)))
    hues = list(HUES)
    lines = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(train.rows):
        Image.fromarray(train.load(number)).save(folder / f"{number}.png")
        ink, ground = (hues[int(hue[row])] for hue in (plan.ink_hue, plan.ground_hue))
        lines.append((f"{number}.png", f"{ink} on {ground} ground"))
    write_atomically(path, lambda part: _write(part, lines))  # last: then all pictures are there
    return path


def _write(path: Path, lines: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("filepath", "title"), *lines])


def asked(run: Path) -> Mapping[str, float]:
    """Return zero-shot accuracies by kind of prompt."""
    found = {
        name: sslcli.zero_shot_eval(run, data="scenes-colour", prompts=prompts, listener=TALK)
        for name, prompts in PROMPTS.items()
    }
    accuracies = {name: result.top1 for name, result in found.items()}
    alone = {f"{name}, each alone": mean(each.by_prompt.values()) for name, each in found.items()}
    return accuracies | alone


def study(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Train and test every arm; return accuracies by arm."""
    found: dict[str, dict[str, list[float]]] = {}
    arms = [f"batch {size}" for size in options.batches] + [COLOURS] * options.colours
    for seed in range(options.seeds):
        for arm in arms:
            run = options.out / f"{arm.replace(' ', '-')}-{seed}"
            data = str(colours(options.out / "pictures")) if arm == COLOURS else None
            size = [] if arm == COLOURS else [f"train.batch_size={arm.split()[1]}"]
            lasts = [f'train.duration="{options.epochs} epochs"'] if options.epochs else []
            changes = [f"seed={seed}", "evaluation.online_every=", *size, *lasts, *options.set]
            pretrain(run, PRESET, data, changes)
            numbers = dict(measured(run, "zero-shot", asked))
            numbers["kNN"] = knn(run, data="scenes-colour")["top1"]
            numbers["linear"] = linear(run, data="scenes-colour")["top1"]
            own = found.setdefault(arm, {name: [] for name in numbers})
            for name, value in numbers.items():
                own[name].append(value)
    return found


def main() -> None:
    """Do what is left of the study; print its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="of every arm, from 0")
    parser.add_argument("--batches", type=sizes, default=[32, 64, 256], help="with commas between")
    parser.add_argument("--colours", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    parser.add_argument("--out", type=Path, default=Path("runs/zero-shot"))
    parser.add_argument("--set", action="append", default=[], help="passed on to every arm")
    options = parser.parse_args()
    print(table(study(options)), flush=True)


def sizes(text: str) -> list[int]:
    """Return the numbers of a list with commas."""
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    main()
