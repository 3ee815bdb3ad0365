"""Linear classifiers of several rates, trained side by side, and the choice among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from sslcli.data.order import stratified
from sslcli.data.sources.base import Source, Subset, need_labels
from sslcli.engine.checkpoint import NAME, load_checkpoint, save_checkpoint
from sslcli.evaluate.metrics import ranking
from sslcli.files import write_atomically

HELD_OUT = 0.1  # of the training images, class by class


@dataclass(frozen=True)
class Rate:
    """A base rate, and the accuracy that its classifier reached.

    Attributes:
        rate: As the config has it.
        held_out: On the training images that were held out to choose by.
        nats: Cross-entropy there, which decides between equal accuracies.
        top1: On the test part.
    """

    rate: float
    held_out: float
    nats: float
    top1: float


def hold_out(source: Source, seed: int) -> tuple[Source, Source]:
    """Return the images to learn from, and a tenth of each class to choose by."""
    labels = need_labels(source)
    keys = np.random.default_rng(seed).permutation(len(labels))
    is_held = stratified(labels, HELD_OUT, keys)
    kept, held = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    return (
        Subset(source, kept, f"nine tenths of {source.name}"),
        Subset(source, held, f"a tenth of {source.name}"),
    )


def judged(
    rate: float, classifier: nn.Module, held: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> Rate:
    """Return what a classifier reaches.

    Args:
        rate: The rate that it was trained with.
        classifier: Maps features [N, D] to logits [N, C].
        held: Features and classes of the images to choose by.
        test: Those of the test part.
    """
    logits = classifier(held[0])
    shares = [_top1(logits, held[1]), _top1(classifier(test[0]), test[1])]
    return Rate(rate, shares[0], float(functional.cross_entropy(logits, held[1])), shares[1])


def best(rates: Sequence[Rate]) -> int:
    """Return the number of the rate that is best on the held-out images."""
    return max(range(len(rates)), key=lambda i: (rates[i].held_out, -rates[i].nats))


def keep_best(run: Path, name: str) -> None:
    """Make a classifier of a run's checkpoint the one that other commands read.

    Args:
        run: The run directory. Its states stay as they are.
        name: The classifier's name in the checkpoint, such as others.0.
    """
    checkpoint = load_checkpoint(run)
    tensors = checkpoint.tensors()
    for part in ("weight", "bias"):
        tensors[f"classifier.{part}"] = tensors[f"{name}.{part}"].clone()
    write_atomically(
        run / NAME, lambda path: save_checkpoint(path, tensors, checkpoint.config, checkpoint.facts)
    )


def _top1(logits: Tensor, labels: Tensor) -> float:
    return (ranking(logits)[:, 0] == labels).double().mean().item()
