"""Read a checkpoint's method as a density of images, where it learns one."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sslcli import assemble
from sslcli.engine.checkpoint import Checkpoint
from sslcli.evaluate.ood.density import REFINEMENT, Density
from sslcli.methods.base import Method
from sslcli.methods.classifier import langevin
from sslcli.methods.registry import method_class
from sslcli.perturb.sgld import Langevin


class LogP(nn.Module):
    """Map images to a method's log p(x) up to a constant, [B]."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        """Return log p of normalised images [B, 3, S, S]."""
        method: Any = self.method
        log_p: Tensor = method.log_density(images)
        return log_p


def refinement_of(checkpoint: Checkpoint) -> Langevin | None:
    """Return how a checkpoint's images are refined; None when its method learned no density.

    As they were sampled in training, or as JEM's are when they were not, in as many steps as JEM's
    in either case.
    """
    section: Any = checkpoint.config.method
    if not hasattr(method_class(section.name), "log_density"):
        return None
    sampler = getattr(section, "sampler", None)
    return REFINEMENT if sampler is None else replace(langevin(sampler), steps=REFINEMENT.steps)


def density_of(checkpoint: Checkpoint, device: torch.device, seed: int) -> Density | None:
    """Return the density that a checkpoint's method learned; None when it learned none.

    Raises:
        CheckpointError: If its tensors do not fit the config it carries.
    """
    refinement = refinement_of(checkpoint)
    if refinement is None:
        return None
    method = assemble.load_method(checkpoint, device).requires_grad_(False)
    return Density(LogP(method), refinement, seed)
