"""Switch a network to evaluation for a while, and put back exactly what was."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a block in evaluation mode; each module's own mode is restored, in errors too."""
    were_training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in were_training:
            module.training = True
