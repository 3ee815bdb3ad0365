"""The small MLPs that methods put on an encoder."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn


def mlp(
    sizes: Sequence[int],
    *,
    hidden_norm: bool = True,
    hidden_bias: bool | None = None,
    output_norm: Literal["none", "fixed", "affine"] = "none",
    output_bias: bool | None = None,
) -> nn.Sequential:
    """Return Linear [- BatchNorm] - ReLU for each hidden layer, then Linear [- BatchNorm].

    A Linear has a bias unless a BatchNorm follows, which would cancel it; the two bias options
    overrule that where a paper does. Weights keep PyTorch's default draw: a narrow normal one may
    fail to converge (SimSiam, arXiv:2011.10566, appendix A).

        SimSiam projector    mlp([512, 2048, 2048], output_norm="fixed")
        SimSiam predictor    mlp([2048, 512, 2048])
        BYOL, both           mlp([2048, 4096, 256], hidden_bias=True, output_bias=False)
        MoCo v2              mlp([2048, 2048, 128], hidden_norm=False)

    Args:
        sizes: Widths of input, hidden layers and output.
        hidden_norm: BatchNorm after each hidden Linear.
        hidden_bias: Bias of the hidden Linears.
        output_norm: BatchNorm after the output: "fixed" has no scale and shift, "affine" learns
            them.
        output_bias: Bias of the output Linear.

    Raises:
        ValueError: If there are fewer than two sizes, or one is not positive.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"an MLP needs two positive sizes or more, got {list(sizes)}")
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += _linear(before, after, hidden_bias, "affine" if hidden_norm else "none")
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, *_linear(sizes[-2], sizes[-1], output_bias, output_norm))


def dropout_classifier(width: int, hidden: int, classes: int, dropout: float) -> nn.Sequential:
    """Return AMDIM's two-layer classifier: dropout before each Linear, BatchNorm after the first.

    arXiv:1906.00910; amdim-public, model.py, MLPClassifier.
    """
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(width, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )


def _linear(before: int, after: int, bias: bool | None, norm: str) -> list[nn.Module]:
    linear = nn.Linear(before, after, bias=norm == "none" if bias is None else bias)
    if norm == "none":
        return [linear]
    return [linear, nn.BatchNorm1d(after, affine=norm == "affine")]
