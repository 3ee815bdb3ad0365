"""Compare the methods of sentences, and ConSERT's noises, on the built-in phrases.

Trains every arm with some seeds and prints Spearman on the test pairs, beside the untrained network
and word overlap. What is finished is not done again.

    python examples/studies/phrases.py --study esimcse --seeds 3
    python examples/studies/phrases.py --study consert --seeds 3
"""

import argparse
from itertools import combinations
from pathlib import Path

from commands import pretrain, spoken, sts

# A share of 0.2 is the paper's for features; of tokens and of single entries it is ours.
NOISES = {
    "none": '{kind="none"}',
    "shuffle": '{kind="shuffle"}',
    "token cutoff": '{kind="token_cutoff",rate=0.2}',
    "feature cutoff": '{kind="feature_cutoff",rate=0.2}',
    "dropout": '{kind="dropout",rate=0.2}',
}
Arm = tuple[str, list[str]]  # a method, and what each --set takes


def pair(first: str, second: str) -> Arm:
    """Return ConSERT with one noise a view."""
    return "consert", [f"method.first={NOISES[first]}", f"method.second={NOISES[second]}"]


def consert() -> dict[str, Arm]:
    """Return every pair of noises, every single one beside a clean view, and no noise at all."""
    pairs = combinations([name for name in NOISES if name != "none"], 2)
    single = [("none", name) for name in NOISES]
    return {" + ".join(names): pair(*names) for names in [*pairs, *single]}


PLAIN = ["texts=[{count=2,max_length=32}]"]  # without repetition
STUDIES: dict[str, dict[str, Arm]] = {
    "esimcse": {
        "SimCSE": ("simcse", []),
        "ESimCSE": ("esimcse", []),
        "repetition alone": ("esimcse", ["method.queue=0"]),
        "momentum alone": ("esimcse", PLAIN),
    },
    "consert": consert(),
}


def train(name: str, arm: Arm, options: argparse.Namespace) -> list[dict]:
    """Train an arm with every seed, and return what the pairs say of each."""
    method, changes = arm
    folder = options.out / options.study / name.replace(" + ", "+").replace(" ", "-")
    found = []
    for seed in range(options.seeds):
        own = [*changes, f"seed={seed}", *options.set]
        pretrain(folder / str(seed), f"{method}/phrases", None, own)
        found.append(sts(folder / str(seed), baseline=True))
    return found


def table(found: dict[str, list[dict]]) -> str:
    """Return Spearman of every arm, times 100, as a table in Markdown, the best first."""
    names = ("spearman", "untrained", "overlap")
    lines = [f"| arm | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    values = {arm: [[one[name] for one in each] for name in names] for arm, each in found.items()}
    for arm, columns in sorted(values.items(), key=lambda item: -sum(item[1][0])):
        lines.append(f"| {arm} | {' | '.join(spoken(column) for column in columns)} |")
    return "\n".join(lines)


def main() -> None:
    """Do what is left of a study, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", choices=STUDIES, required=True)
    parser.add_argument("--arms", help="some of them, with commas between")
    parser.add_argument("--seeds", type=int, default=1, help="of every arm, from 0")
    parser.add_argument("--out", type=Path, default=Path("runs/phrases-study"))
    parser.add_argument("--set", action="append", default=[], help="passed on to every arm")
    options = parser.parse_args()
    arms = STUDIES[options.study]
    wanted = options.arms.split(",") if options.arms else list(arms)
    if unknown := [name for name in wanted if name not in arms]:
        parser.error(f"--arms {unknown[0]}: there are {', '.join(arms)}")
    print(table({name: train(name, arms[name], options) for name in wanted}))


if __name__ == "__main__":
    main()
