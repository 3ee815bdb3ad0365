"""Projected gradient descent: move an image, within a ball around it, until a classifier errs.

Madry et al. 2018, arXiv:1706.06083. Images and distances are in units of [0, 1], as images are
before they are normalised; normalisation is part of the victim.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sslcli.perturb.ball import Ball


@dataclass(frozen=True)
class Judged:
    """A victim's answer to a batch of images.

    Attributes:
        loss: The loss that an attack raises, [B]; detached.
        is_broken: Whether its answer is wrong, [B].
        gradient: Of the loss of each image, [B, ...]; detached.
    """

    loss: Tensor
    is_broken: Tensor
    gradient: Tensor


@runtime_checkable
class Victim(Protocol):
    """A classifier under attack; images [B, ...] in [0, 1], labels [B]."""

    def judge(self, images: Tensor, labels: Tensor) -> Judged:
        """Return loss, gradient and errors; a random classifier may err elsewhere next time."""

    def errs(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return whether the classifier is wrong, [B] bool; this answer is the one recorded."""


@dataclass(frozen=True)
class Attack:
    """The strength of an attack.

    Attributes:
        ball: Where the image may go.
        steps: Steps of each restart.
        step_size: In units of [0, 1].
        restarts: Random starts; an image takes the next one as long as it is not broken.
    """

    ball: Ball
    steps: int
    step_size: float
    restarts: int


class Adversarial:
    """The best found so far for each image: broken before not broken, then the highest loss.

    Args:
        images: Where the search starts, [B, ...]; nothing is broken there.

    Attributes:
        images: [B, ...].
        loss: [B].
        is_broken: [B] bool; what is true once stays true.
        is_stuck: Whether a search met a gradient of 0, so that it could not go on, [B] bool.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.loss = images.new_full((len(images),), -torch.inf, dtype=torch.float64)
        self.is_broken = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        self.is_stuck = torch.zeros_like(self.is_broken)

    def offer(
        self,
        rows: Int[Tensor, " some"],
        images: Float[Tensor, "some ..."],
        loss: Float[Tensor, " some"],
        is_broken: Bool[Tensor, " some"],
    ) -> None:
        """Keep the images that are better than the best so far of their rows."""
        known, loss = self.is_broken[rows], loss.double()
        better = is_broken & ~known | (is_broken == known) & (loss > self.loss[rows])
        rows = rows[better]
        self.images[rows], self.loss[rows] = images[better], loss[better]
        self.is_broken[rows] = is_broken[better]


def search(
    victim: Victim,
    images: Float[Tensor, "batch ..."],
    labels: Int[Tensor, " batch"],
    numbers: Callable[[int], Tensor],
    attack: Attack,
) -> Adversarial:
    """Attack from random starts and keep the best adversarial of each image.

    What a random victim got wrong by chance is broken only if `errs` agrees; else the next restart
    tries again. Weights collect no gradient as long as `judge` differentiates the images alone.

    Args:
        victim: The classifier.
        images: In [0, 1], [B, ...]; leave out those that it classifies wrongly without an attack.
        labels: The right classes, [B].
        numbers: Returns the uniform numbers of a restart, [B, values of an image].
        attack: Ball, steps and restarts.
    """
    best = Adversarial(images)
    for restart in range(attack.restarts):
        rows = (~best.is_broken).nonzero()[:, 0]
        if not len(rows):
            break
        start = attack.ball.scatter(images, numbers(restart))
        found = pgd(victim, images[rows], labels[rows], start[rows], attack)
        is_broken = found.is_broken & victim.errs(found.images, labels[rows])
        best.offer(rows, found.images, found.loss, is_broken)
        best.is_stuck[rows] |= found.is_stuck
    return best


def pgd(
    victim: Victim,
    images: Float[Tensor, "batch ..."],
    labels: Int[Tensor, " batch"],
    start: Float[Tensor, "batch ..."],
    attack: Attack,
) -> Adversarial:
    """Raise the loss from `start`, for each image until it is broken: one restart of `search`.

    x <- clip(project(x + step_size * steepest(gradient))). The best iterate is kept, not the last.
    """
    best, rows = Adversarial(images), torch.arange(len(images), device=images.device)
    x = attack.ball.project(start, images)
    for step in range(attack.steps + 1):
        judged = victim.judge(x, labels[rows])
        best.offer(rows, x, judged.loss, judged.is_broken)
        on = ~judged.is_broken
        if step == attack.steps or not bool(on.any()):
            break
        rows, gradient = rows[on], judged.gradient[on]
        best.is_stuck[rows] |= (gradient == 0).flatten(1).all(dim=1)
        x = attack.ball.move(x[on], gradient, attack.step_size, images[rows])
    return best
