"""ODIN: a step of the input towards its own prediction (Liang et al. 2018, arXiv:1706.02690)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sslcli.perturb.odds import odds_against

_BATCH = 64  # images at a time: gradients keep the activations, which evaluation does not plan for


class OdinNetwork(nn.Module):
    """Map images to the logits of images moved by eps along a sign of their gradient.

    x~ = x - eps sign(grad_x CE(z / T, argmax z)) / std, by the odds against argmax z, whose
    gradient has the same signs and does not round to 0. Only the input gets a gradient, no
    parameter does. The network is float32 whatever autocast says, since bf16 does not resolve a
    step of 0.0014 in an input around 1.

    Args:
        network: Maps normalised images to logits.
        std: Deviation of each channel; `epsilon` is in units of [0, 1], as images were before they
            were normalised.
        temperature: T; it divides the logits inside the gradient.
        epsilon: Length of the step per pixel.
    """

    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        std: tuple[float, float, float],
        temperature: float,
        epsilon: float,
    ) -> None:
        super().__init__()
        self.network, self.temperature, self.epsilon = network, temperature, epsilon
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def extra_repr(self) -> str:
        """Name what decides the result beside the weights; the features' cache relies on it."""
        return f"temperature={self.temperature}, epsilon={self.epsilon}, by odds"

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch classes"]:
        """Return the logits, not yet divided by T."""
        with torch.autocast(images.device.type, enabled=False):
            return torch.cat([self.network(self.moved(part)) for part in images.split(_BATCH)])

    def moved(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> Float[Tensor, "batch 3 side side"]:
        """Return the images after the step, detached."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = images.clone().requires_grad_()
            logits = self.network(leaf)
            loss = odds_against(logits / self.temperature, logits.argmax(dim=1))
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        return (leaf - self.epsilon * gradient.sign() / self.std).detach()


def odin(logits: Float[Tensor, "n classes"], temperature: float) -> Float[Tensor, " n"]:
    """Return the largest softmax probability of z / T of moved images.

    In float64: at T = 1000 the probabilities differ from 1 / C in their last float32 digits.
    """
    return (logits.double() / temperature).softmax(dim=1).amax(dim=1)
