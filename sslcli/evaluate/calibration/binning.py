"""Sort events into bins by their predicted probability, and compare it with their frequency."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

Scheme = Literal["width", "mass"]

_ROUNDING = 0.01  # bf16 probabilities sum to 1 within this; unnormalised scores do not


@dataclass(frozen=True)
class Bins:
    """The bins that hold samples, from low to high probability; empty bins are left out.

    Attributes:
        lower: Lower edge of each bin, [M]; the lowest probability in it for equal counts.
        upper: Upper edge, which belongs to the bin, [M]; the highest probability in it.
        accuracy: Share of the samples for which the event happened, [M].
        confidence: Mean probability that it would, [M].
        count: Number of samples, [M].
    """

    lower: Float[Tensor, " bins"]
    upper: Float[Tensor, " bins"]
    accuracy: Float[Tensor, " bins"]
    confidence: Float[Tensor, " bins"]
    count: Float[Tensor, " bins"]

    @property
    def gap(self) -> Float[Tensor, " bins"]:
        """Accuracy minus confidence of each bin; negative where the classifier is overconfident."""
        return self.accuracy - self.confidence

    def expected_error(self) -> float:
        """Return the mean size of the gap over samples."""
        return float((self.count * self.gap.abs()).sum() / self.count.sum())

    def maximum_error(self) -> float:
        """Return the size of the largest gap, however few samples are in its bin."""
        return float(self.gap.abs().max())

    def rows(self) -> list[dict[str, float]]:
        """Return one mapping a bin, ready for JSON."""
        columns = {name: tensor.tolist() for name, tensor in vars(self).items()}
        columns["gap"] = self.gap.tolist()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def bin_events(
    probability: Float[Tensor, " batch"],
    happened: Shaped[Tensor, " batch"],
    bins: int = 15,
    scheme: Scheme = "width",
) -> Bins:
    """Sort events into bins by the probability that was given to them.

    Bins of equal width are (lower, upper] as in Guo et al. 2017 (arXiv:1706.04599, section 2), and
    a probability of 0 is in the first. Equal counts split the sorted samples; there, samples of one
    probability share their outcomes evenly, so that the order of the data does not matter.

    Args:
        probability: In [0, 1]; one on an edge falls to the side its last bit decides.
        happened: 1 or True where the event happened.
        bins: How many bins, the empty ones included.
        scheme: "width" for equal widths, "mass" for equal counts.

    Raises:
        ValueError: If there is no sample or no bin, or a probability is outside [0, 1].
    """
    check_probabilities(probability)
    if bins < 1:
        raise ValueError(f"there must be a bin, got {bins}")
    if scheme not in ("width", "mass"):
        raise ValueError(f"the scheme is width or mass, not {scheme!r}")
    probability, happened = probability.double(), happened.double()
    if scheme == "mass":
        _, group = probability.unique(return_inverse=True)
        happened = (group.bincount(happened) / group.bincount())[group]
        which = torch.empty_like(group)
        sizes = [len(part) for part in torch.arange(len(group)).tensor_split(bins)]
        chunks = torch.arange(bins).repeat_interleave(torch.tensor(sizes))
        which[probability.argsort()] = chunks.to(which.device)
    else:
        edges = torch.arange(1, bins, dtype=torch.float64, device=probability.device) / bins
        which = torch.bucketize(probability.contiguous(), edges)
    return _summarise(probability, happened, which, bins, scheme)


def _summarise(
    probability: Tensor, happened: Tensor, which: Tensor, bins: int, scheme: Scheme
) -> Bins:
    count = which.bincount(minlength=bins).double()
    held = count > 0
    confidence = which.bincount(probability, minlength=bins)[held] / count[held]
    accuracy = which.bincount(happened, minlength=bins)[held] / count[held]
    lower = torch.arange(bins, dtype=torch.float64, device=count.device) / bins
    upper = lower + 1 / bins
    if scheme == "mass":
        lower = lower.scatter_reduce(0, which, probability, "amin", include_self=False)
        upper = upper.scatter_reduce(0, which, probability, "amax", include_self=False)
    return Bins(lower[held], upper[held], accuracy, confidence, count[held])


def check_distribution(
    probabilities: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> None:
    """Raise ValueError unless each row is a distribution and each label one of its classes."""
    check_probabilities(probabilities)
    check_labels(labels, probabilities.shape[1])
    if bool(((probabilities.double().sum(dim=1) - 1).abs() > _ROUNDING).any()):
        raise ValueError("a row of probabilities does not sum to 1; are these logits?")


def check_probabilities(probabilities: Shaped[Tensor, "..."]) -> None:
    """Raise ValueError unless all lie in [0, 1]."""
    # NaN fails this form of the test; rounding may leave a softmax a little above 1.
    if not bool(((probabilities >= 0) & (probabilities <= 1 + _ROUNDING)).all()):
        raise ValueError("a probability lies outside [0, 1]; are these logits?")


def check_labels(labels: Int[Tensor, " batch"], classes: int) -> None:
    """Raise ValueError unless there is a label and each is in [0, classes)."""
    if not len(labels):
        raise ValueError("there is no sample")
    low, high = labels.aminmax()
    if low < 0 or high >= classes:
        raise ValueError(f"labels lie in [{low}, {high}], outside [0, {classes})")
