"""Measure a classifier that learns from few labelled images of each class, drawn several times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.metrics import Accuracy
from sslcli.evaluate.seeds import Summary, summarise

AVERAGED = ("top1", "mean_per_class")


@dataclass(frozen=True)
class FewShots:
    """The numbers of labelled images a class to learn from, and how often each is drawn.

    Attributes:
        counts: Images of each class; none when nothing is asked for.
        draws: Draws of each count, two at least, so that their mean has an interval.

    Raises:
        UsageError: If a number is too small.
    """

    counts: tuple[int, ...] = ()
    draws: int = 10

    def __post_init__(self) -> None:
        if any(count < 1 for count in self.counts):
            raise UsageError("a draw has at least one image of each class", "shots")
        if self.draws < 2:
            raise UsageError("a mean over draws needs two at least", "draws")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what is measured, such as top1/5-shot."""
        return tuple(f"{name}/{count}-shot" for count in self.counts for name in AVERAGED)

    def check(self, labels: np.ndarray, names: Sequence[str]) -> None:
        """Raise UsageError unless every class that has images has enough of them.

        Args:
            labels: Classes of the training images, [N].
            names: Names of the classes.
        """
        classes, sizes = np.unique(labels, return_counts=True)
        if not self.counts or not len(classes) or max(self.counts) <= sizes.min():
            return
        least, small = int(sizes.min()), names[classes[sizes.argmin()]]
        what = f"{max(self.counts)} images of each class cannot be drawn"
        hint = f"at most {least}: the smallest class, {small}, has {least} training images"
        raise UsageError(what, "shots", hint)

    def measure(
        self,
        labels: Int[Tensor, " n"],
        seed: int,
        measure: Callable[[Tensor], Accuracy],
        progress: Callable[[int, int], None],
    ) -> dict[str, Summary]:
        """Return every metric over the draws.

        Args:
            labels: Classes of the training features.
            seed: Decides the draws.
            measure: Learns from these rows of them, and returns its accuracy on the test part.
            progress: Called with the draws done and their number.
        """
        found: dict[str, Summary] = {}
        total = len(self.counts) * self.draws
        for count in self.counts:
            results = []
            for draw in range(self.draws):
                measured = measure(draw_rows(labels, count, seed, draw))
                results.append({name: getattr(measured, name) for name in AVERAGED})
                progress(len(found) // len(AVERAGED) * self.draws + draw + 1, total)
            found |= {f"{n}/{count}-shot": each for n, each in summarise(results).items()}
        return found


def draw_rows(labels: Int[Tensor, " n"], count: int, seed: int, draw: int) -> Int[Tensor, " m"]:
    """Return `count` rows of each class, in ascending order.

    A larger count adds rows to those of a smaller one, so that counts differ by nothing else.
    """
    order = np.random.default_rng((seed, draw)).permutation(len(labels))
    by_class = order[np.argsort(labels.cpu().numpy()[order], kind="stable")]
    classes = labels.cpu().numpy()[by_class]
    firsts = np.searchsorted(classes, classes)  # where the class of each row begins
    kept = by_class[np.arange(len(classes)) - firsts < count]
    return torch.from_numpy(np.sort(kept))
