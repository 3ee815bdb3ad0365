"""Repeat ablations of the methods that predict parts of an image, each arm with several seeds.

Trains every arm on the built-in scenes, measures kNN and linear probe on the test images, and
prints a table of means and deviations with the numbers that training ends with. What is finished is
not done again, and a run that was stopped goes on. A study is an entry of `STUDIES`.

    python examples/studies/local.py --study amdim-terms
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commands import knn, linear, pretrain, rows, table


@dataclass(frozen=True)
class Study:
    """A claim, and the arms that test it.

    Attributes:
        claim: What is compared, and who says what.
        preset: What every arm trains.
        arms: What each --set takes, by label.
        logged: Metrics of the last row of training that the table shows.
    """

    claim: str
    preset: str
    arms: Mapping[str, list[str]]
    logged: tuple[str, ...] = ()


STUDIES = {
    "amdim-terms": Study(
        "AMDIM's local terms beside a contrast of global features alone, by the same encoder",
        "amdim/scenes",
        {"local terms": [], "global features alone": ['method.terms=["1->1"]']},
        logged=("online_linear_top1",),
    ),
}


def train(study: Study, name: str, options: argparse.Namespace) -> dict[str, dict[str, list]]:
    """Train and measure every arm; return its numbers, one a seed."""
    found: dict[str, dict[str, list]] = {}
    for seed in range(options.seeds):
        for arm, changes in study.arms.items():
            run = options.out / name / f"{arm.replace(' ', '-')}-{seed}"
            common = [f"seed={seed}", "evaluation.online_every=", *options.set]
            pretrain(run, study.preset, None, [*changes, *common])
            last = rows(run)[-1]
            values = {"kNN": knn(run)["top1"], "linear": linear(run)["top1"]}
            values |= {metric: last[metric] for metric in study.logged}
            own = found.setdefault(arm, {metric: [] for metric in values})
            for metric, value in values.items():
                own[metric].append(value)
    return found


def main() -> None:
    """Do what is left of the studies asked for; print the table of each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", choices=[*STUDIES, "all"], default="all")
    parser.add_argument("--seeds", type=int, default=3, help="of every arm, from 0")
    parser.add_argument("--out", type=Path, default=Path("runs/local"))
    parser.add_argument("--set", action="append", default=[], help="passed on to every arm")
    options = parser.parse_args()
    for name in STUDIES if options.study == "all" else [options.study]:
        found = train(STUDIES[name], name, options)
        print(STUDIES[name].claim, table(found), sep="\n\n", end="\n\n", flush=True)


if __name__ == "__main__":
    main()
