"""A classifier as it is attacked: normalisation, and JEM's noise and refinement before it.

Grathwohl et al. 2020, arXiv:1912.03263, section 5.4. Refinement is no part of the graph, so the
attack takes the gradient at the refined image and applies it to the unrefined one (BPDA, Athalye et
al. 2018, arXiv:1802.00420), averaged over replicas of the noise (EOT).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sslcli.config.pixels import Space
from sslcli.data.images.color import to_space
from sslcli.engine.device import autocast
from sslcli.evaluate.finite import need_finite
from sslcli.perturb.adversarial import Judged
from sslcli.perturb.odds import odds_against
from sslcli.perturb.sgld import Langevin, sgld

NO_REFINEMENT = Langevin(steps=0, step_size=1.0, noise=0.0)


@dataclass(frozen=True)
class Defence:
    """Predict argmax of the mean of z(refine(normalise(x) + noise * N(0, I))) over replicas.

    Args:
        network: Maps normalised images to logits, in evaluation mode.
        mean: Of the normalisation, per channel.
        std: Its deviation.
        precision: Arithmetic of the network; attacks in less than fp32 round small steps away.
        noise: Deviation, in the normalised range.
        refinement: Steps up log p(x), in the normalised range; 0 steps are none.
        replicas: Draws of the noise that an attack averages a gradient over.
        verdicts: Draws that decide what counts as an error; a few could err by chance.
        space: What red, green and blue become before they are normalised.
    """

    network: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    precision: str = "fp32"
    noise: float = 0.0
    refinement: Langevin = field(default=NO_REFINEMENT)
    replicas: int = 1
    verdicts: int = 1
    space: Space = "rgb"

    @property
    def is_random(self) -> bool:
        """Whether an image may be classified differently another time."""
        return bool(self.noise or (self.refinement.steps and self.refinement.noise))

    def judge(
        self, images: Float[Tensor, "batch 3 side side"], labels: Int[Tensor, " batch"]
    ) -> Judged:
        """Return the odds against the labels and their gradient averaged over `replicas`.

        The odds rise with the cross-entropy. The gradient of the cross-entropy rounds to 0 where a
        network is confident, which would look like robustness. Errors are those of the replicas'
        mean.

        Raises:
            CheckpointError: If a logit or a gradient is not finite.
        """
        losses, gradients, answers = [], [], []
        for _ in range(self.replicas if self.is_random else 1):
            leaf = self.refined(images).requires_grad_()
            with torch.enable_grad():
                logits = self.logits(leaf).double()
                loss = odds_against(logits, labels)  # [B]
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
            losses.append(loss.detach())
            gradients.append(gradient)
            answers.append(logits.detach())
        slope = self._of_pixels(torch.stack(gradients).mean(dim=0), images)
        need_finite(slope, "gradients", self.precision)
        answer = torch.stack(answers).mean(dim=0).argmax(dim=1)
        return Judged(torch.stack(losses).mean(dim=0), answer != labels, slope)

    @torch.no_grad()
    def errs(
        self, images: Float[Tensor, "batch 3 side side"], labels: Int[Tensor, " batch"]
    ) -> Bool[Tensor, " batch"]:
        """Return where the mean logits of `verdicts` replicas are wrong."""
        draws = self.verdicts if self.is_random else 1
        total = sum(self.logits(self.refined(images)).double() for _ in range(draws))
        assert isinstance(total, Tensor)
        return total.argmax(dim=1) != labels

    def refined(self, images: Float[Tensor, "batch 3 side side"]) -> Tensor:
        """Return normalised images after noise and refinement, detached."""
        x = self.normalized(images.detach())
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        if self.refinement.steps:
            x = sgld(lambda each: self.logits(each).logsumexp(dim=1), x, self.refinement).samples
        return x

    def logits(self, x: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of normalised images, float32.

        Raises:
            CheckpointError: If one is not finite; it would count as an error of the network.
        """
        with autocast(x.device, self.precision):
            logits: Tensor = self.network(x)
        need_finite(logits, "logits", self.precision)
        return logits.float()

    def normalized(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> Float[Tensor, "batch 3 side side"]:
        """Return images in [0, 1] as the network takes them, with gradient."""
        mean, std = (self._channels(each, images) for each in (self.mean, self.std))
        return (to_space(images, self.space) - mean) / std

    def _of_pixels(self, gradient: Tensor, images: Tensor) -> Tensor:
        """Return the gradient of pixels in [0, 1], given that of what the network takes."""
        with torch.enable_grad():
            leaf = images.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.normalized(leaf), leaf, gradient)
        return slope

    @staticmethod
    def _channels(values: tuple[float, ...], images: Tensor) -> Tensor:
        return torch.tensor(values, device=images.device, dtype=images.dtype).view(-1, 1, 1)
