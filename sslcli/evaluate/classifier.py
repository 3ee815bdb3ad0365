"""The linear classifier that a checkpoint may hold on its encoder, and the classes it knows."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import UsageError
from sslcli.listener import QUIET, Listener


def linear_classifier(checkpoint: Checkpoint) -> nn.Linear | None:
    """Return a checkpoint's linear layer `classifier` [C, D], in float32 on the CPU, if it has one.

    Fine-tuning and the papers' linear probe leave one.
    """
    tensors = checkpoint.tensors("classifier.")
    if tensors.keys() != {"weight", "bias"} or tensors["weight"].ndim != 2:
        return None
    classes, width = tensors["weight"].shape
    classifier = nn.Linear(width, classes)
    classifier.load_state_dict(tensors)
    return classifier.requires_grad_(False)


def need_classifier(checkpoint: Checkpoint) -> nn.Linear:
    """Return a checkpoint's linear classifier; see `linear_classifier`.

    Raises:
        UsageError: If it holds an encoder only.
    """
    classifier = linear_classifier(checkpoint)
    if classifier is None:
        what = "this checkpoint has no linear classifier on its encoder, so it gives no probability"
        hint = (
            "train one with `finetune()` CKPT, or `linear_eval()` CKPT `protocol` paper, "
            "and name its run directory"
        )
        raise UsageError(what, str(checkpoint.path), hint)
    return classifier


def logits_of(
    classifier: nn.Linear, features: Float[Tensor, "batch dim"]
) -> Float[Tensor, "batch classes"]:
    """Return the logits in float64, since later steps subtract nearly equal numbers."""
    return functional.linear(
        features.double(), classifier.weight.double(), classifier.bias.double()
    )


def class_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the names of the classes that a checkpoint was trained on, in its order."""
    return tuple(checkpoint.facts.get("data", {}).get("classes", ()))


def known_classes(
    checkpoint: Checkpoint, names: Sequence[str], listener: Listener = QUIET
) -> tuple[str, ...]:
    """Return the names of a classifier's classes; those of the data where it has none of its own.

    Weights of another code come without names. Their classes are taken in the order of the data's,
    which is said, where there are as many; else nothing is known.

    Args:
        checkpoint: Of the classifier.
        names: Classes of the data, in their order.
        listener: Who is told.
    """
    if known := class_names(checkpoint):
        return known
    classifier = linear_classifier(checkpoint)
    if classifier is None or classifier.out_features != len(names):
        return ()
    listener.note(f"the classifier's {len(names)} classes have no names: taken in the data's order")
    return tuple(names)


def find_classes(labels: np.ndarray, names: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """Return the labels of a data set as a classifier numbers them, matched by class name.

    The lists may differ in length and order; only classes that images have count.

    Args:
        labels: [N], indices into `names`.
        names: Classes of the data.
        known: Classes of the classifier.

    Returns:
        Indices into `known`, -1 where an image is of another class, [N] int64.
    """
    position = {name: index for index, name in enumerate(known)}
    positions = np.array([position.get(name, -1) for name in names], dtype=np.int64)
    found: np.ndarray = positions[labels]
    return found


def strange_classes(
    labels: np.ndarray, names: Sequence[str], known: Sequence[str], rows: str = "images"
) -> str:
    """Say how many rows are of classes that a classifier does not know; empty when none is."""
    strange = find_classes(labels, names, known) < 0
    if not strange.any():
        return ""
    return f"{int(strange.sum())} {rows} are of classes that the classifier does not know"


def match_classes(
    labels: np.ndarray, names: Sequence[str], known: Sequence[str], rows: str = "images"
) -> np.ndarray:
    """Return as `find_classes` does, if the classifier knows the class of every row.

    Raises:
        UsageError: If it does not.
    """
    found = find_classes(labels, names, known)
    if what := strange_classes(labels, names, known, rows):
        strange = sorted({names[label] for label in labels[found < 0]})
        more = ", ..." if len(known) > 5 else ""
        hint = f"they are {', '.join(strange[:5])}; it knows {', '.join(known[:5])}{more}"
        if not known:
            hint = f"its classes have no names, so it takes data of as many, not of {len(names)}"
        raise UsageError(what, "class names", hint)
    return found
