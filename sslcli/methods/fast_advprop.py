"""Fast AdvProp: adversarial images for few of the images, by a gradient that is used twice.

Mei et al. 2022, arXiv:2204.09838, with the numbers and rules of the authors' code
(meijieru/fast_advprop). Traps: the pass that attacks also trains, so the network is in training
mode in it; each parameter's gradient is divided by the weight of the images that reached it, which
differs between the weights that all share and the two BatchNorms. The code also shuffles
adversarial images among its processes, which statistics over all of them do not notice.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from sslcli.config.methods.adversarial import FastAdvPropConfig
from sslcli.data.batch import Batch
from sslcli.errors import ConfigError
from sslcli.methods.adversarial import Box, auxiliary_norms, uniform_start
from sslcli.methods.base import Output, Progress
from sslcli.methods.classifier import Classifier, labels_of, train_top1


class FastAdvProp(Classifier):
    """Learn a few images as noisy and as adversarial ones, the others as they are.

    A batch of `clean_per_attacked` : 1 makes three passes: clean images by the main BatchNorm,
    noisy ones by the auxiliary BatchNorm, whose one backward pass gives the gradients of the
    weights and of the images, and the images one step up that gradient.

    Args:
        config: Attack, shares and weights.
        encoder: Maps images to [B, encoder.feature_dim].

    Raises:
        ConfigError: If the encoder has no BatchNorm.
    """

    def __init__(self, config: FastAdvPropConfig, encoder: nn.Module) -> None:
        super().__init__(encoder, config.num_classes)
        self.config = config
        self.auxiliary = auxiliary_norms(encoder, config.name)
        self.box = Box(config.box)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the weighted mean of the three cross-entropies, in nats."""
        config, images, labels = self.config, batch.views[0], labels_of(batch)
        count = len(images) // (config.clean_per_attacked + 1)
        if not count:
            what = (
                f"{len(images)} images have none to attack, one in {config.clean_per_attacked + 1}"
            )
            raise ConfigError(what, "train.batch_size", "make it larger")
        logits = self.logits(images[:-count])
        clean = functional.cross_entropy(logits, labels[:-count])
        some, own = images[-count:], labels[-count:]
        with self.auxiliary.on(self.encoder):
            noisy = uniform_start(some, config.radius * self.box.level)
            attack, gradient = self._attack(noisy, own)
            ball = self.box.ball(config.radius * self.box.level)
            attacked = ball.move(noisy, gradient, config.step_size * self.box.level, some)
            attacked_logits = self.logits(attacked)
        adversarial = functional.cross_entropy(attacked_logits, own)
        weights = self._weights
        loss = weights[0] * clean + weights[1] * attack + weights[2] * adversarial
        metrics = {
            "train_top1": train_top1(logits, labels[:-count]),
            "adversarial_top1": train_top1(attacked_logits, own),
        }
        return Output(loss / sum(weights), metrics, chance=math.log(config.num_classes))

    @property
    def _weights(self) -> tuple[float, float, float]:
        """Weights of the mean losses of clean, noisy and adversarial images."""
        config = self.config
        return float(config.clean_per_attacked), config.attack_weight, config.adversarial_weight

    def _attack(self, noisy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of noisy images, and the gradient that raises it, by one pass.

        The loss hands the weights the gradient that this pass found: it is not computed again.
        """
        parameters = [p for p in self.parameters() if p.requires_grad]
        with torch.enable_grad():
            leaf = noisy.detach().requires_grad_()
            loss = functional.cross_entropy(self.logits(leaf), labels, reduction="sum")
            gradient, *found = torch.autograd.grad(loss, [leaf, *parameters], allow_unused=True)
        reached = [(p, g) for p, g in zip(parameters, found, strict=True) if g is not None]
        kept: Tensor = _Kept.apply(loss.detach(), [g for _, g in reached], *(p for p, _ in reached))
        return kept / len(noisy), gradient

    def before_step(self, progress: Progress) -> None:
        """Divide the gradients of each BatchNorm by the weight of its own images."""
        clean, *others = self._weights
        for weight, parameters in (
            (clean, self._main()),
            (sum(others), self.auxiliary.parameters()),
        ):
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad *= sum(self._weights) / weight

    def _main(self) -> Iterator[nn.Parameter]:
        """Yield the weights of the encoder's BatchNorms."""
        for module in self.encoder.modules():
            if isinstance(module, _BatchNorm):
                yield from module.parameters(recurse=False)


class _Kept(torch.autograd.Function):
    """A number with known gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(upstream * gradient for gradient in ctx.gradients)
