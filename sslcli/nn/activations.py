"""The activations that an encoder's config can name."""

from collections.abc import Callable

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": lambda: nn.LeakyReLU(0.2),  # JEM's and IGEBM's slope
    "silu": nn.SiLU,
}
