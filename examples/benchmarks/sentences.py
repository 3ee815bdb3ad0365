"""Train on the same sentences by SimCSE and by sentence-transformers' own loop, in turns.

Both start from the same weights and tokens of at most 32 numbers, with the same batch, AdamW and
clipping, and one sentence is its own partner: `MultipleNegativesRankingLoss` is SimCSE's loss then.
Theirs is the loop behind `SentenceTransformer.old_fit`, which needs nothing but torch. Their steps
and ours alternate in one process, data and tokenising included. A third turn repeats our encoder
passes alone, forward and backward, for each method of sentences: a step adds the rest to them. With
one thread (OMP_NUM_THREADS=1) it is processor time that is compared, which other work on the
machine disturbs less.

    python examples/benchmarks/sentences.py [--model all-MiniLM-L6-v2/] [--data news.txt] [--json]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from sentence_transformers import InputExample, SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.utils.data import DataLoader

import sslcli
from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.sources.base import Source
from sslcli.engine.log import Log
from sslcli.engine.loop import Training, steps, train_step
from sslcli.listener import SilentWatcher
from sslcli.nn.bert import Bert

CPU = torch.device("cpu")
METHODS = ("simcse", "esimcse", "consert")
LENGTH, RATE = 32, 5e-5


def clock() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds(work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


def small_model(encoder: str, data: str, folder: Path) -> str:
    """Write a sentence encoder with fresh weights as a folder that both can start from."""
    fields = {"encoder.name": encoder, "train.duration": "1 steps", "train.batch_size": 8}
    run = sslcli.pretrain(
        preset="mlm/texts", data=data, overrides=fields, out=folder / "run", device="cpu"
    )
    sslcli.export(run, format="sentence-transformers", out=folder / "model")
    return str(folder / "model")


def training_of(method: str, options: argparse.Namespace) -> tuple[Training, Source]:
    """Return a training from the model's weights, and its data."""
    fields = {
        "encoder.weights": options.model,
        "data.source": options.data,
        "data.lengths": options.lengths,
        "train.batch_size": options.batch,
        "train.duration": "1000 epochs",
    }
    config = resolve(f"{method}/texts", None, fields).config
    source = assemble.open_training(config).train
    config = assemble.settled(config, source)
    made = assemble.build_method(config, CPU, assemble.facts_of(source), load_start=True)
    return assemble.build_training(config, made, source, CPU, "fp32"), source


def stepping(training: Training, folder: Path) -> Callable[[], None]:
    """Return a function that makes one step of the whole loop, its log included."""
    batches = steps(training)
    log = Log(folder / "metrics.jsonl", SilentWatcher())
    return lambda: log.add(training, train_step(training, next(batches)))


class InTurns(DataLoader):
    """Give their loop its batches, and make one of our steps after each of theirs.

    Attributes:
        theirs: Seconds of each of their steps, from asking for a batch to asking for the next.
        ours: Seconds of each of ours.
    """

    def __init__(self, examples: list[InputExample], batch: int, step: Callable[[], None]) -> None:
        super().__init__(examples, batch_size=batch, shuffle=True, drop_last=True)
        self.step, self.theirs, self.ours = step, list[float](), list[float]()

    def __iter__(self) -> Iterator:
        batches = super().__iter__()
        while True:
            start = clock()
            yield next(batches)
            self.theirs.append(clock() - start)
            self.ours.append(seconds(self.step))


def compare(options: argparse.Namespace) -> dict:
    """Return sentences per second of both loops, and how many times as fast ours is."""
    batch, count = options.batch, options.steps
    with tempfile.TemporaryDirectory() as folder:
        training, source = training_of("simcse", options)
        theirs = SentenceTransformer(options.model, device="cpu")
        theirs.max_seq_length = LENGTH
        texts = (source.text(row) for row in range(len(source)))
        examples = [InputExample(texts=[text, text]) for text in texts]
        turns = InTurns(examples, batch, stepping(training, Path(folder)))
        loss = MultipleNegativesRankingLoss(theirs, scale=20.0)
        theirs.old_fit(
            [(turns, loss)], steps_per_epoch=count + 2, warmup_steps=1, weight_decay=0.0,
            optimizer_params={"lr": RATE}, show_progress_bar=False,
        )  # fmt: skip
    ours, others = turns.ours[1:], turns.theirs[1 : len(turns.ours)]  # the first ones allocate
    ratios = [other / own for other, own in zip(others, ours, strict=True)]
    return {
        "sentences_per_second": batch / statistics.mean(ours),
        "theirs": batch / statistics.mean(others),
        "times_as_fast": sum(others) / sum(ours),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def passes_of(step: Callable[[], None]) -> list[Callable[[], None]]:
    """Make a step, and return what repeats each pass through an encoder in it."""
    seen: list[Callable[[], None]] = []
    original = Bert.hidden_states

    def noted(encoder: Bert, ids: torch.Tensor, mask: torch.Tensor, **noise: object) -> list:
        has_gradient = torch.is_grad_enabled() and next(encoder.parameters()).requires_grad
        seen.append(partial(repeated, encoder, ids, mask, has_gradient))
        return original(encoder, ids, mask, **noise)

    def repeated(encoder: Bert, ids: torch.Tensor, mask: torch.Tensor, has_gradient: bool) -> None:
        with torch.set_grad_enabled(has_gradient):
            states = original(encoder, ids, mask)[-1]
        if has_gradient:
            states.sum().backward()

    Bert.hidden_states = noted
    try:
        step()
    finally:
        Bert.hidden_states = original
    return seen


def overhead(method: str, options: argparse.Namespace) -> dict:
    """Return how many times its encoder passes a step takes, each pair on the same tokens."""
    with tempfile.TemporaryDirectory() as folder:
        training, _ = training_of(method, options)
        step, ratios = stepping(training, Path(folder)), []
        for _ in range(options.steps + 1):
            whole = [0.0]

            def timed(found: list[float] = whole) -> None:
                found[0] = seconds(step)

            passes = passes_of(timed)
            training.optimizer.zero_grad(set_to_none=True)
            ratios.append(whole[0] / sum(seconds(each) for each in passes))
    ratios = ratios[1:]
    return {
        "method": method,
        "passes": len(passes),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a folder of sentence-transformers; fresh weights without")
    parser.add_argument("--encoder", default="bert-4-256-4", help="the size of fresh weights")
    parser.add_argument("--data", default="phrases", help="sentences")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--lengths", choices=("mixed", "alike"), default="mixed", help="of ours")
    parser.add_argument("--methods", nargs="*", default=METHODS, help="whose passes are repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.model = options.model or small_model(options.encoder, options.data, Path(folder))
        found = compare(options)
        rows = [overhead(method, options) for method in options.methods]
    if options.json:
        print(json.dumps({"threads": torch.get_num_threads(), **found, "rows": rows}))
        return
    spread = f"({found['lowest']:.2f} to {found['highest']:.2f})"
    print(f"SimCSE, batch {options.batch}, {torch.get_num_threads()} threads")
    print(f"sentences/s {found['sentences_per_second']:.1f}, theirs {found['theirs']:.1f}")
    print(f"{found['times_as_fast']:.3f} times as fast {spread}")
    for row in rows:
        spread = f"({row['lowest']:.2f} to {row['highest']:.2f})"
        print(f"{row['method']}: a step takes {row['ratio']:.3f} times its passes {spread}")


if __name__ == "__main__":
    main()
