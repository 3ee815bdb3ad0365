"""CLAE: each image also finds its partner in an adversarial copy of itself.

Ho & Vasconcelos 2020, arXiv:2010.12050; the steps are those of the authors' code
(chihhuiho/CLAE, main.py of SimCLR, Plain and UEL), which differs in one point: it does not cut
adversarial images to the range of pixels. Traps: adversarial images have a BatchNorm of their own,
in training mode in the attack too, which counts the clean images as well; the attack leaves no
gradient on the weights; the second term's gradient reaches the clean view too; the views go through
the network one by one, and not together as in SimCLR; evaluation uses the main BatchNorm.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sslcli.config.methods.adversarial import CLAEConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather, gather_with_gradient, world_size
from sslcli.losses.contrastive import batch_info_nce, invariant_spread, nt_xent
from sslcli.losses.nce import candidate_chance
from sslcli.methods.adversarial import Box, auxiliary_norms
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.methods.simclr import partner_top1
from sslcli.nn.heads import mlp
from sslcli.perturb.ascent import ascend

Criterion = Callable[[Tensor, Tensor, float], Tensor]
CRITERIA: dict[str, tuple[Criterion, Callable[[int], float]]] = {  # with the loss of a guess
    "nt-xent": (nt_xent, lambda n: math.log(2 * n - 1)),
    "info-nce": (batch_info_nce, math.log),
    "invariant-spread": (invariant_spread, lambda n: candidate_chance(2 * n - 2)),
}


class CLAE(Method):
    """Contrast the first view with the second, and with an adversarial copy of itself.

    L = l(f(x1), f(x2)) + alpha * l(f(x1), f'(x')), where f' is f with auxiliary BatchNorms, and
    x' = x1 + radius * sign of the gradient of l(f'(x1), f'(x')) at x' = x1. The batch is that of
    all processes. In the gathered batch the gradient of x' comes out as many times too large as
    there are processes, which its sign does not mind.

    Args:
        config: Criterion, head and attack.
        encoder: Maps images to [B, encoder.feature_dim].

    Raises:
        ConfigError: If the encoder has no BatchNorm.
    """

    gathers = True
    over_batch = ("negatives",)

    def __init__(self, config: CLAEConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        hidden = [] if config.hidden is None else [config.hidden]
        self.projector = mlp([feature_dim(encoder), *hidden, config.dim], hidden_norm=False)
        self.auxiliary = auxiliary_norms(encoder, config.name, momentum=config.norm_momentum)
        self.box = Box(config.box)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats, over the views of all processes."""
        first, second = batch.views[:2]
        clean, partner = self.embed(first), self.embed(second)  # [B, D] each
        attacked = self.attacked(first)
        with self.auxiliary.on(self.encoder):
            adversarial = self.embed(attacked)
        loss = self.contrast(clean, partner)
        loss = loss + self.config.alpha * self.contrast(clean, adversarial)
        anchors = gather(clean)
        metrics = {
            "contrast_top1": partner_top1(anchors, gather(partner)),
            "adversarial_top1": partner_top1(anchors, gather(adversarial)),
        }
        guess = CRITERIA[self.config.criterion][1]
        chance = (1 + self.config.alpha) * guess(world_size() * len(clean))
        return Output(loss, metrics, embeddings=clean.detach(), chance=chance)

    def attacked(self, images: Tensor) -> Tensor:
        """Return the images after one step up the loss of the whole batch, detached."""
        radius = self.config.radius
        if self.config.direction == "random":
            ball, signs = self.box.ball(radius), torch.randn_like(images)
            return ball.move(images, signs, radius, images)
        with self.auxiliary.on(self.encoder):
            with torch.no_grad():
                clean = self.embed(images)
            # Half precision would round an image's share of a mean to 0; signs mind no factor.
            return ascend(
                lambda x: len(x) * self.contrast(clean, self.embed(x)),
                images, radius, radius, steps=1, bounds=self.box.bounds,
            )  # fmt: skip

    def embed(self, images: Tensor) -> Tensor:
        """Return projections [B, D], by the BatchNorms that are on."""
        projections: Tensor = self.projector(self.encoder(images))
        return projections

    def contrast(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the criterion between two views of all processes' images; a are the anchors."""
        criterion = CRITERIA[self.config.criterion][0]
        a, b = gather_with_gradient(a), gather_with_gradient(b)  # [W * B, D]
        return criterion(a, b, self.config.temperature)
