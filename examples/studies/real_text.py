"""Train on real sentences from a sentence encoder at hand, with controls that separate the causes.

SimCSE, ESimCSE and ConSERT start from the weights of a sentence encoder, which labels have trained,
through the state of its first token, and learn for some minutes each. Two controls say why SimCSE's
figure moves: without dropout both views are the same, so that only other sentences are pushed away;
with the encoder frozen its head alone learns. Prints Spearman on pairs with scores, before and
after. What is finished is not done again.

    python examples/studies/real_text.py --model all-MiniLM-L6-v2/ --data news.txt.gz \
        --dev STSBenchmark/sts-dev.csv --minutes 10 --seeds 1
"""

import argparse
import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from commands import TALK, pretrain, rows, spoken, sts

import sslcli
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.files import write_atomically

FIRST = "encoder.pooler=cls_before_pooler"
HEAD = [FIRST, "method.pooler=cls"]  # a head of training alone, as in SimCSE
OFTEN = ['train.log_every="10 steps"', 'train.checkpoint_every="25%"']
PILOT = 6  # steps that tell how long one takes; the first of them is slower


@dataclass(frozen=True)
class Arm:
    """A training.

    Attributes:
        preset: Whose method and numbers are taken.
        changes: What each --set takes.
    """

    preset: str
    changes: list[str] = field(default_factory=list)


ARMS = {
    "SimCSE": Arm("simcse/texts", HEAD),
    "ESimCSE": Arm("esimcse/texts", HEAD),
    "ConSERT": Arm("consert/texts", [FIRST, "method.pooler=cls_before_pooler"]),
    "SimCSE without dropout": Arm("simcse/texts", [*HEAD, "encoder.dropout=0"]),
    "SimCSE, head alone": Arm(
        "simcse/texts", [*HEAD, "method.freeze=true", "evaluation.features=head"]
    ),
}


def start_from(model: str, out: Path) -> Path:
    """Return the run of the weights to start from, imported once."""
    run = out / "start"
    if not (run / "checkpoint.safetensors").is_file():
        sslcli.import_weights(model, out=run, overwrite=True, overrides=[FIRST], listener=TALK)
    return run


def kept_sentences(data: str, dropped: list[str], out: Path) -> str:
    """Return a file of the sentences that hold none of the texts of `dropped`."""
    if not dropped:
        return data
    kept = out / "sentences.txt"
    if not kept.is_file():
        opened = gzip.open if data.endswith(".gz") else open
        with opened(data, "rt", encoding="utf-8") as lines:
            good = [line for line in lines if not any(each in line for each in dropped)]
        write_atomically(kept, lambda part: part.write_text("".join(good), "utf-8"))
    return str(kept)


def steps_in(minutes: float, arm: Arm, folder: Path, data: str, start: Path) -> int:
    """Return how many steps fill some minutes here, told once by a short run of the arm."""
    told = folder / "steps.json"
    if not told.is_file():
        changes = [f'train.duration="{PILOT} steps"', 'train.log_every="1 steps"', *arm.changes]
        pretrain(folder / "pilot", arm.preset, data, changes, start)
        rates = [row["images_per_second"] for row in rows(folder / "pilot")][1:]
        batch = sslcli.load(folder / "pilot").config.train.batch_size
        steps = max(1, round(60 * minutes * mean(rates) / batch))
        write_atomically(told, lambda part: part.write_text(json.dumps(steps)))
    return int(json.loads(told.read_text()))


def train(name: str, arm: Arm, start: Path, data: str, options: argparse.Namespace) -> dict:
    """Train an arm with every seed; return its steps, and Spearman before and after."""
    folder = options.out / name.lower().replace(", ", "-").replace(" ", "-")
    changes = [*arm.changes, *OFTEN, *watched(options), *options.set]
    arm = Arm(arm.preset, [*arm.changes, *options.set])
    steps = options.steps or steps_in(options.minutes, arm, folder, data, start)
    after, best = [], []
    for seed in range(options.seeds):
        run = folder / str(seed)
        own = [f"seed={seed}", f'train.duration="{steps} steps"']
        pretrain(run, arm.preset, data, [*changes, *own], start)
        after.append(sts(run, data=options.dev)["spearman"])
        if options.every:
            best.append(load_checkpoint(run).facts["best"])
    before = sts(start, data=options.dev)["spearman"]
    return {"steps": steps, "before": before, "after": after, "best": best}


def watched(options: argparse.Namespace) -> list[str]:
    """Return the changes that measure the pairs on the way, where that is asked for."""
    if not options.every:
        return []
    dev = Path(options.dev).resolve()
    every = f'evaluation.online_every="{options.every} steps"'
    return [f"evaluation.online_sts={dev}", every, "train.best=sts"]


def table(found: dict[str, dict]) -> str:
    """Return the numbers of every arm as a table in Markdown."""
    lines = ["| arm | steps | before | after | best, at step |", "|---|---|---|---|---|"]
    for label, one in found.items():
        best = ", ".join(f"{100 * each['value']:.1f} at {each['step']}" for each in one["best"])
        numbers = f"{one['steps']} | {100 * one['before']:.1f} | {spoken(one['after'])}"
        lines.append(f"| {label} | {numbers} | {best or 'not measured'} |")
    return "\n".join(lines)


def main() -> None:
    """Do what is left, and print Spearman of every arm, times 100."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a Hugging Face folder of a BERT")
    parser.add_argument("--data", required=True, help="sentences: a .txt or .txt.gz")
    parser.add_argument("--dev", required=True, help="pairs with scores: what sts-eval takes")
    parser.add_argument("--drop", action="append", default=[], help="leave out lines that hold it")
    parser.add_argument("--minutes", type=float, default=10, help="of every arm")
    parser.add_argument("--steps", type=int, help="of every arm, instead of minutes")
    parser.add_argument("--every", type=int, help="measure the pairs each so many steps, too")
    parser.add_argument("--seeds", type=int, default=1, help="of every arm, from 0")
    parser.add_argument("--out", type=Path, default=Path("runs/real-text"))
    parser.add_argument("--set", action="append", default=[], help="passed on to every arm")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    start = start_from(options.model, options.out)
    data = kept_sentences(options.data, options.drop, options.out)
    found = {name: train(name, arm, start, data, options) for name, arm in ARMS.items()}
    print(table(found))


if __name__ == "__main__":
    main()
