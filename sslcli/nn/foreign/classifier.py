"""Find the linear classifier beside an encoder in a file that another code has saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

# The names that torchvision, timm and transformers give the last layer of a classifier.
USUAL = ("fc", "head", "classifier", "head.fc", "classifier.1", "last_linear")
_SECOND = "head_dist"  # of timm's distilled transformers, whose answer is the mean of two heads


@dataclass(frozen=True)
class FoundClassifier:
    """A linear layer in a file.

    Attributes:
        name: What the file calls it.
        weight: [C, D].
        bias: [C].
    """

    name: str
    weight: Tensor
    bias: Tensor

    @property
    def names(self) -> tuple[str, str]:
        """The names of its tensors in the file."""
        return f"{self.name}.weight", f"{self.name}.bias"


def find_classifier(
    stored: Mapping[str, Tensor], prefix: str, names: Sequence[str], width: int
) -> FoundClassifier | None:
    """Return the linear classifier behind a network, or beside it; None if there is none.

    Args:
        stored: What the file holds.
        prefix: Of the network's names in it.
        names: What its code calls a classifier.
        width: Numbers of the network's features.
    """
    above = prefix.rstrip(".").rpartition(".")[0]
    for place in dict.fromkeys((prefix, f"{above}." if above else "")):
        if f"{place}{_SECOND}.weight" in stored:
            return None
        for name in (place + each for each in names):
            weight, bias = stored.get(f"{name}.weight"), stored.get(f"{name}.bias")
            if weight is None or bias is None or weight.ndim != 2:
                continue
            if weight.shape[1] == width and bias.shape == weight.shape[:1] and len(bias) > 1:
                return FoundClassifier(name, weight.float(), bias.float())
    return None
