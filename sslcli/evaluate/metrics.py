"""Accuracies that say on how many samples and by which protocol they were measured."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sslcli.errors import DataError, UsageError


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a classifier.

    Attributes:
        top1: Share of samples whose class is ranked first, from 0 to 1.
        top5: Share of samples whose class is among the first five; None below six classes.
        n: Number of samples.
        protocol: How the classifier was made, in one line.
    """

    top1: float
    top5: float | None
    n: int
    protocol: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name; None for what was not measured."""
        return asdict(self)


def top_hits(scores: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Tensor:
    """Return [B, min(5, C)] booleans: whether the class ranked r-th is the right one.

    A class with a score of minus infinity is not ranked.
    """
    ranked = scores.topk(min(5, scores.shape[1]), dim=1)
    return (ranked.indices == labels[:, None]) & (ranked.values > -torch.inf)


def accuracy(hits: Tensor, num_classes: int, protocol: str) -> Accuracy:
    """Summarise the rows of `top_hits` of all samples."""
    top1 = hits[:, 0].double().mean().item()
    top5 = hits.any(dim=1).double().mean().item() if num_classes > 5 else None
    return Accuracy(top1, top5, len(hits), protocol)


def check_features(name: str, features: Float[Tensor, "batch dim"]) -> None:
    """Raise unless `features` hold at least one row and are finite."""
    if not len(features):
        raise DataError(f"the {name} set is empty")
    if not bool(features.isfinite().all()):
        raise UsageError(
            f"the features of the {name} set hold NaN or infinity",
            hint="the encoder diverged, or overflows in fp16; try `precision` fp32",
        )


def check_labels(
    name: str, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " n"], num_classes: int
) -> None:
    """Raise unless `labels` fit `features` and lie in [0, num_classes)."""
    if len(labels) != len(features):
        raise ValueError(f"{len(features)} {name} features, but {len(labels)} labels")
    if num_classes < 2:
        raise DataError(f"the {name} set has one class only", hint="a classifier needs two or more")
    low, high = labels.aminmax()
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name} labels lie in [{low}, {high}], outside [0, {num_classes})")


def check_two_classes(name: str, labels: Int[Tensor, " batch"]) -> None:
    """Raise when all labels are equal, since any classifier could then be always right."""
    if bool((labels == labels[0]).all()):
        raise DataError(f"the {name} set has one class only", hint="a classifier needs two or more")
