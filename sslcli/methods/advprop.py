"""AdvProp: adversarial images as further training images, with a BatchNorm of their own.

Xie et al. 2020, arXiv:1911.09665; details as in the reimplementation for ResNet-50
(tingxueronghua/pytorch-classification-advprop), which reached the paper's gain. Traps: adversarial
images keep their true labels; a target is drawn among the other classes (that code draws modulo a
fixed 1000, the own class included); the noise at the start is not cut to the range of pixels before
the first gradient; testing uses the main BatchNorm alone.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.adversarial import AdvPropConfig
from sslcli.data.batch import Batch
from sslcli.methods.adversarial import Box, auxiliary_norms, uniform_start
from sslcli.methods.base import Output, Progress
from sslcli.methods.classifier import Classifier, labels_of, train_top1
from sslcli.nn.modes import evaluating
from sslcli.nn.norm import AuxiliaryNorms
from sslcli.perturb.ascent import ascend


class AdvProp(Classifier):
    """Learn clean images by the main BatchNorm and adversarial ones by an auxiliary one.

    The attack moves the first view, through the auxiliary BatchNorm. Each further view has an
    auxiliary BatchNorm of its own: with views by AutoAugment this is fine-grained AdvProp. With
    shared norms, the ablation, all images are one batch of plain adversarial training.

    Args:
        config: Attack, norms and sum of the losses.
        encoder: Maps images to [B, encoder.feature_dim].

    Raises:
        ConfigError: If the norms are to be two, and the encoder has no BatchNorm.
    """

    def __init__(self, config: AdvPropConfig, encoder: nn.Module) -> None:
        super().__init__(encoder, config.num_classes)
        self.config = config
        self.auxiliary: AuxiliaryNorms | None = None
        if config.norms == "dual":
            branches = 1 + (config.further_views or 0)
            self.auxiliary = auxiliary_norms(encoder, config.name, branches)
        self.box = Box(config.box)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the sum of the mean cross-entropies of all kinds of images, or their mean."""
        (first, *further), labels = (
            batch.views[: 1 + (self.config.further_views or 0)],
            labels_of(batch),
        )
        logits = self._by_branch([first, self.attacked(first, labels), *further])
        losses = torch.stack([functional.cross_entropy(each, labels) for each in logits])
        loss = losses.sum() if self.config.reduction == "sum" else losses.mean()
        metrics = {
            "train_top1": train_top1(logits[0], labels),
            "adversarial_top1": train_top1(logits[1], labels),
        }
        scale = len(logits) if self.config.reduction == "sum" else 1
        return Output(loss, metrics, chance=scale * math.log(self.config.num_classes))

    def attacked(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return adversarial images of a batch for the network as it is, detached, [B, 3, H, W]."""
        attack, level = self.config.attack, self.box.level
        aims = other_classes(labels, self.config.num_classes) if attack.targeted else labels
        sign = -1 if attack.targeted else 1
        mode = evaluating(self) if attack.mode == "eval" else nullcontext()
        with mode, self._branch(0):
            return ascend(
                lambda x: sign * functional.cross_entropy(self.logits(x), aims, reduction="sum"),
                images, attack.radius * level, attack.step_size * level, attack.steps,
                self._start(images), self.box.bounds,
            )  # fmt: skip

    def _start(self, images: Tensor) -> Tensor:
        """Return where the attack begins: one coin a batch decides whether there is noise."""
        chance = self.config.attack.noise
        if not chance:
            return images
        noisy = uniform_start(images, self.config.attack.radius * self.box.level)
        return torch.where(torch.rand((), device=images.device) < chance, noisy, images)

    def _by_branch(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return the logits of clean, of adversarial and of further images, [B, C] each."""
        if self.auxiliary is None:  # one BatchNorm sees them all together
            return list(self.logits(torch.cat(list(images))).chunk(len(images)))
        logits = [self.logits(images[0])]
        for number, others in enumerate(images[1:]):
            with self._branch(number):
                logits.append(self.logits(others))
        return logits

    def _branch(self, number: int) -> AbstractContextManager[None]:
        return self.auxiliary.on(self.encoder, number) if self.auxiliary else nullcontext()


def other_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Draw a class for each image that is not its own, uniformly, [B] int64."""
    offset = torch.randint(1, num_classes, labels.shape, device=labels.device)
    return (labels + offset) % num_classes
