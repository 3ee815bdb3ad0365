"""Scores of a density: log p(x), its slope, and how far sampling moves an image uphill.

Grathwohl et al. 2020, arXiv:1912.03263, section 5.3, and their released code. log p is known up to
a constant: log sum exp of a classifier's logits, or minus the energy of an IGEBM (of its likeliest
class where it has classes). Inputs get no noise; the released code adds that of training.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sslcli.nn.spectral import dividing_once
from sslcli.perturb.sgld import Langevin, sgld

REFINEMENT = Langevin(steps=20, step_size=1.0, noise=0.01)  # of JEM, for models without one
_BATCH = 64  # images at a time: gradients keep the activations, which evaluation does not plan for


@dataclass(frozen=True)
class Density:
    """A model of images and the sampler that it is refined with.

    Attributes:
        log_p: Maps normalised images [B, 3, S, S] to log p up to a constant, [B]; on its device,
            in evaluation mode, without gradients of weights.
        sampler: How images are refined.
        seed: Decides the sampler's noise.
    """

    log_p: nn.Module
    sampler: Langevin
    seed: int


class OfDensity(nn.Module, ABC):
    """Map images to columns that need the density itself, and as a rule its gradient.

    Everything is float32 whatever autocast says, since refinement compares nearly equal values.

    Args:
        log_p: See `Density`.
    """

    def __init__(self, log_p: nn.Module) -> None:
        super().__init__()
        self.log_p = log_p

    @abstractmethod
    def columns(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch scores"]:
        """Return the columns, detached; called with gradients switched on."""

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch scores"]:
        """Return the columns of all images."""
        autocast = torch.autocast(images.device.type, enabled=False)
        with autocast, torch.inference_mode(False), dividing_once(self.log_p), torch.enable_grad():
            return torch.cat([self.columns(part.clone()) for part in images.split(_BATCH)])


class LogDensity(OfDensity):
    """log p(x)."""

    @torch.no_grad()
    def columns(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch 1"]:
        """Return log p, up to a constant."""
        log_p: Tensor = self.log_p(images)
        return log_p[:, None]


class ApproximateMass(OfDensity):
    """The flatness of log p around an image (JEM, section 5.3).

    A typical image has neighbours as likely as itself; around an isolated peak the density is
    steep.
    """

    def columns(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch 1"]:
        """Return minus the L2 norm of the gradient of log p, in units of the normalised input."""
        leaf = images.requires_grad_()
        (slope,) = torch.autograd.grad(self.log_p(leaf).sum(), leaf)
        norms: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1, keepdim=True)
        return -norms


class Refinement(OfDensity):
    """The gain of a chain from the image, which is small where the model already has samples.

    The noise is a function of the seed and the place in the batch, so that the columns are the same
    on every call, and the global generator is left as it was.

    Args:
        density: Model, sampler and seed.
    """

    def __init__(self, density: Density) -> None:
        super().__init__(density.log_p)
        self.sampler, self.seed = density.sampler, density.seed

    def extra_repr(self) -> str:
        """Name what decides the result beside the weights; the features' cache relies on it."""
        return f"{self.sampler}, seed={self.seed}"

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch 2"]:
        """Return the columns of all images."""
        is_cuda = images.device.type == "cuda"
        with torch.random.fork_rng([images.device] if is_cuda else []):
            torch.manual_seed(self.seed)
            return super().forward(images)

    def columns(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch 2"]:
        """Return log p(x) minus log p of the refined x, and minus the L2 distance to it."""
        refined = sgld(self.log_p, images, self.sampler).samples
        with torch.no_grad():
            gain = self.log_p(images) - self.log_p(refined)
        return torch.stack([gain, -(images - refined).flatten(1).norm(dim=1)], dim=1)
