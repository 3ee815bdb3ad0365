"""The linear classifier that a checkpoint may hold on its encoder, and the classes it knows."""

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import UsageError


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
            "train one with ssl finetune CKPT, or ssl linear-eval CKPT --protocol paper, "
            "and name its run directory"
        )
        raise UsageError(what, str(checkpoint.path), hint)
    return classifier


def logits_of(
    classifier: nn.Linear, features: Float[Tensor, "batch dim"]
) -> Float[Tensor, "batch classes"]:
    """Return the logits in float64: what follows subtracts numbers that are nearly equal."""
    return functional.linear(
        features.double(), classifier.weight.double(), classifier.bias.double()
    )


def class_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the names of the classes that a checkpoint was trained on, in its order."""
    return tuple(checkpoint.facts.get("data", {}).get("classes", ()))


def match_classes(labels: np.ndarray, names: tuple[str, ...], known: tuple[str, ...]) -> np.ndarray:
    """Return the labels of a data set as the classifier numbers them, matched by class name.

    Args:
        labels: [N], indices into `names`.
        names: Classes of the data.
        known: Classes of the classifier.

    Raises:
        UsageError: If an image is of a class that the classifier does not know.
    """
    position = {name: index for index, name in enumerate(known)}
    positions = np.array([position.get(name, -1) for name in names], dtype=np.int64)
    found: np.ndarray = positions[labels]
    strange = sorted({names[label] for label in labels[found < 0]})
    if strange:
        what = f"{int((found < 0).sum())} images are of classes that the classifier does not know"
        more = ", ..." if len(known) > 5 else ""
        hint = f"they are {', '.join(strange[:5])}; it knows {', '.join(known[:5])}{more}"
        raise UsageError(what, "class names", hint)
    return found
