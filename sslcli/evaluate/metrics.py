"""Accuracies that say on how many samples and by which protocol they were measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sslcli.errors import DataError, UsageError

NameT = TypeVar("NameT", str, int)


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a classifier.

    Attributes:
        top1: Share of samples whose class is ranked first, from 0 to 1.
        top5: Share of samples whose class is among the first five; None below six classes.
        n: Number of samples.
        protocol: How the classifier was made, in one line.
        mean_per_class: Mean of the classes' own accuracies, over the classes that have samples.
        confusion: Samples of each class, in rows, by the class that they were given, [C, C] int64.
        classes: Their names; none where nobody has told them.
    """

    top1: float
    top5: float | None
    n: int
    protocol: str
    mean_per_class: float
    confusion: Tensor = field(repr=False, compare=False)
    classes: tuple[str, ...] = field(kw_only=True, default=(), repr=False)

    @property
    def per_class(self) -> dict[str, float]:
        """The accuracy of each class that has samples, by its name, or number without names."""
        names = self.classes or tuple(map(str, range(len(self.confusion))))
        return own_accuracies(self.confusion, names)

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers and the protocol by name; None for what was not measured."""
        return shown(self)


def shown(result: Any) -> dict[str, Any]:
    """Return the fields of a result that its `repr` shows, numbers and words, by name."""
    return {each.name: getattr(result, each.name) for each in fields(result) if each.repr}


def ranking(scores: Float[Tensor, "batch classes"]) -> Int[Tensor, "batch ranks"]:
    """Return the first min(5, C) classes of each sample, the most likely first.

    A class with a score of minus infinity is not ranked; -1 stands in its place.
    """
    ranked = scores.topk(min(5, scores.shape[1]), dim=1)
    return ranked.indices.where(ranked.values > -torch.inf, -1)


def accuracy(
    ranked: Int[Tensor, "batch ranks"],
    labels: Int[Tensor, " batch"],
    num_classes: int,
    protocol: str,
) -> Accuracy:
    """Summarise the `ranking` of all samples."""
    hits = ranked == labels[:, None]
    top1 = hits[:, 0].double().mean().item()
    top5 = hits.any(dim=1).double().mean().item() if num_classes > 5 else None
    counts = confusion(ranked[:, 0], labels, num_classes)
    own = own_accuracies(counts, range(num_classes))
    return Accuracy(top1, top5, len(hits), protocol, sum(own.values()) / len(own), counts)


def confusion(
    given: Int[Tensor, " batch"], labels: Int[Tensor, " batch"], num_classes: int
) -> Int[Tensor, "classes classes"]:
    """Count the samples of each class, a row, by the class that they were given, a column."""
    cells = (labels * num_classes + given).cpu()
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def own_accuracies(
    counts: Int[Tensor, "classes classes"], names: Sequence[NameT]
) -> dict[NameT, float]:
    """Return the accuracy of each class that has samples, by its name."""
    right, all_ = counts.diagonal().tolist(), counts.sum(dim=1).tolist()
    rows = zip(names, right, all_, strict=True)
    return {name: hits / total for name, hits, total in rows if total}


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
