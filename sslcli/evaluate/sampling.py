"""Tell whether chains have settled, and divide samples among classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MIN_STEPS = 40  # quarters of ten
MIN_CHAINS = 10  # fewer can all move one way by chance
STANDARD_ERRORS = 3.0
TOLERATED = 0.1


@dataclass(frozen=True)
class Settling:
    """The movement of the energies of chains at their end.

    Attributes:
        drift: Median over chains of a chain's mean energy in the last quarter of the steps, less
            that in the third quarter, in nats.
        spread: Spread of the chains of a class in the last quarter, in nats: half the distance
            between their 16th and 84th percentiles, which is the deviation of a Gaussian.
        has_settled: See `settling`.
    """

    drift: float
    spread: float
    has_settled: bool


def settling(
    energies: Float[Tensor, "steps chains"], classes: Int[Tensor, " chains"]
) -> Settling | None:
    """Compare the last quarter of chains with the quarter before it, each chain with itself.

    Chains have not settled if their energies still drift together. Two conditions must hold. More
    chains move one way than chance explains at three standard errors (a sign test, since chains are
    independent and steps are not). And the median drift exceeds a tenth of the spread; below that,
    a longer run would change little. Medians and signs are used so that one diverging chain does
    not hide the others. Few steps show only a fast drift. No number of steps shows that chains have
    visited the whole density: chains of images stay in the mode that they reach first.

    Args:
        energies: Energies before each step, finite.
        classes: Class of each chain; the level of a class's energies does not count as spread.

    Returns:
        None where there are too few steps or chains.
    """
    steps, chains = energies.shape
    if steps < MIN_STEPS or chains < MIN_CHAINS:
        return None
    third, last = (part.double().mean(dim=0) for part in energies.tensor_split(4)[2:])
    moved = last - third  # [chains]
    for own in (classes == each for each in classes.unique()):
        last[own] -= last[own].median()
    low, high = last.quantile(last.new_tensor([0.16, 0.84]))
    drift, spread = float(moved.median()), float(high - low) / 2
    rising, falling = int((moved > 0).sum()), int((moved < 0).sum())
    together = abs(rising - falling) > STANDARD_ERRORS * (rising + falling) ** 0.5
    return Settling(drift, spread, not (together and abs(drift) > TOLERATED * spread))


def shared_out(count: int, classes: Sequence[int]) -> Int[Tensor, " count"]:
    """Return the class of each of `count` samples, in order; earlier classes get one more."""
    each, left = divmod(count, len(classes))
    sizes = torch.tensor([each + (index < left) for index in range(len(classes))])
    return torch.tensor(classes).repeat_interleave(sizes)


def finite_chains(
    samples: Float[Tensor, "chains ..."], energies: Float[Tensor, "steps chains"]
) -> Bool[Tensor, " chains"]:
    """Say which chains ended in a finite image and never had an energy that was not finite."""
    return samples.flatten(1).isfinite().all(dim=1) & energies.isfinite().all(dim=0)
